// Package drill is the crash drill: it does to the real program what must not
// hurt it, and checks that everything it promised still holds.
//
//	start ─▶ load (several senders) ─▶ death ─▶ start ─▶ check ─▶ load …
//
// Deaths are kill -9 at a random moment, at a place named by crash.Point, or
// during the start; SIGTERM; a power cut, for which the file system under the
// data directory forgets what was not synced; a full disk; and a store that is
// taken away. Senders do what senders do: they repeat what got no answer with
// the same ids, send late, out of order, twice, and badly.
//
// The promises: whatever was acknowledged is stored exactly once, or is a
// duplicate, or lies in quarantine byte for byte; whatever was not is there at
// most once; sessions are in order; receipts tell the truth; the ledger
// balances; and the next start succeeds.
//
// All of it is tests, because that is how it is run: a short form by
// `go test ./internal/drill`, the long one by `make drill`. What is not tested
// that way: more than one machine, disks that lie about having synced, and bytes
// that rot. docs/operate/durability.md tells what was measured.
package drill
