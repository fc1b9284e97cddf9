package client

// ReplayHeld is how many bytes writers of c keep now, to be sent again.
func ReplayHeld(c *Client) int64 { return c.core.replay.Held() }

// MaxKeptBytes is how much one upload keeps.
const MaxKeptBytes = maxKeptBytes
