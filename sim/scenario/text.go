package scenario

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/forebay/forebay/system/config"
)

// MarshalYAML implements yaml.Marshaler: with the largest unit that keeps it exact.
func (s Size) MarshalYAML() (any, error) { return config.Size(s).String(), nil }

// Text is the scenario as a file that Parse reads back.
func (s *Scenario) Text() (string, error) {
	text, err := yaml.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	return string(text), nil
}
