package dfs

// Identity is who asks: a user and its groups, as the door has established them.
type Identity struct {
	User   string
	Groups []string
}

// Superuser tells whether permission checks pass by: the user that the master runs as, or "root".
func (id Identity) Superuser(owner string) bool { return id.User == "root" || id.User == owner }

// MemberOf tells whether group is one of the identity's.
func (id Identity) MemberOf(group string) bool {
	for _, g := range id.Groups {
		if g == group {
			return true
		}
	}
	return false
}
