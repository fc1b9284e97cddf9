package dfs

// Identity is who asks: a user and its groups, as the door has established them.
//
// It is what others are told to believe: nothing here proves it. The zero value is nobody, in no group.
type Identity struct {
	User   string
	Groups []string
}

// Superuser tells whether permission checks pass by: the user that the master runs as, or "root".
// An empty owner makes the nobody without a name a superuser: give one only with an identity that is known.
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
