package config

import (
	"net/url"
	"strings"
)

// masked stands for a secret wherever values are shown. It cannot be set back: TestSettingsAreSources leaves secrets out.
const masked = "***"

// secretWords are the words that make the name of a parameter or an option that of a secret. They are those by which the
// master hides the options of mounts.
var secretWords = []string{"secret", "password", "passwd", "token", "access_key", "accesskey", "credential"}

// isSecret tells whether the value with this name must not be shown.
// Any part of the name counts, in any case, so that "s3.secretKey" is one.
func isSecret(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// MaskURI is text with what must not be seen replaced: the password of every URI in it, and the values of parameters
// whose names are those of secrets. Everything else stays byte for byte, so that people recognize what they wrote. It
// works on any text, since it serves messages about values that are not URIs at all, lists of them included.
//
// It errs on the side of hiding, and is no parser: what it lets through was taken for no secret, which is not a promise for
// secrets whose names do not say so. A key that holds one has the tag secret.
func MaskURI(text string) string {
	if !strings.ContainsAny(text, "@=") {
		return text
	}
	return maskParameters(maskUserinfo(text))
}

// maskUserinfo replaces the password of "scheme://user:password@host". A password may hold '/', ',' and '@' when whoever
// wrote it did not escape them, and no parser takes it then; so everything from the first ':' of the authority to the last
// '@' before the next URI counts as the password. That may hide a part of a path that has an '@', which is better than to
// show a part of a secret.
func maskUserinfo(text string) string {
	const mark = "://"
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, mark)
		if !found {
			return out.String() + text
		}
		out.WriteString(before + mark)
		scope := rest
		if next := strings.Index(rest, mark); next >= 0 {
			scope = rest[:next]
		}
		colon, at := strings.IndexByte(scope, ':'), strings.LastIndexByte(scope, '@')
		if colon >= 0 && at > colon && !strings.Contains(scope[:colon], "/") {
			out.WriteString(scope[:colon+1] + masked)
			rest = rest[at:]
		}
		text = rest
	}
}

// maskParameters hides what options and queries hold. It replaces the values of "name=value" where name is that of a
// secret, between the separators of a query or of a list.
func maskParameters(text string) string {
	var out strings.Builder
	for {
		equals := strings.IndexByte(text, '=')
		if equals < 0 {
			break
		}
		name := text[strings.LastIndexAny(text[:equals], "?&;, \t\n\"'/{[")+1 : equals]
		out.WriteString(text[:equals+1])
		text = text[equals+1:]
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if !isSecret(name) {
			continue
		}
		if text != "" && strings.IndexByte("\"'", text[0]) >= 0 { // a quoted value: the quotes stay
			out.WriteByte(text[0])
			text = text[1:]
		}
		end := strings.IndexAny(text, "&;, \t\n\"'#}]")
		if end < 0 {
			end = len(text)
		}
		if end > 0 {
			out.WriteString(masked)
		}
		text = text[end:]
	}
	return out.String() + text
}
