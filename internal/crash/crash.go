//go:build !drill

// Package crash marks the places where dying hurts most, so that the crash
// drill can die exactly there.
//
// In a normal build a Point does nothing and costs nothing. In a binary built
// with the tag drill, the environment variable EYE_CRASH=NAME:N makes the N-th
// passing of the Point called NAME kill the process as kill -9 would.
package crash

// Point is a place to die at.
func Point(name string) {}
