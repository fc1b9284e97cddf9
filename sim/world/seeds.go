package world

import "math/rand/v2"

// Stream is a source of randomness for a model outside of this package, which follows from the world's seed and from the
// purpose alone. Two models must not share a purpose.
func (w *World) Stream(purpose string) *rand.Rand { return w.stream("model: " + purpose) }
