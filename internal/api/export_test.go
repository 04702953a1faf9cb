package api

import (
	"net/http"

	"github.com/the-eye/eye/internal/access"
)

// Route is a line of the table of routes, for tests.
type Route struct {
	Method, Pattern string
	Scope           access.Scope
	Public, Known   bool
}

// Routes is the table of routes.
func Routes() []Route {
	nobody := http.NotFoundHandler()
	a := &api{Options: Options{Intake: nobody, Live: nobody, Metrics: nobody}}
	var list []Route
	for _, rt := range a.routes() {
		list = append(list, Route{rt.method, rt.pattern, rt.need, rt.guard == nothing, rt.guard == known})
	}
	return list
}

// DecodeCursors puts a text through every decoder of cursors and gives back
// what encodes to it, if any takes it.
func DecodeCursors(list, text string) (again string, ok bool) {
	f := fingerprintOf(list)
	b, err := decodeCursor(f, text)
	if err != nil {
		return "", false
	}
	if o, ok := decodeOrder(b); ok {
		return encodeCursor(f, orderKey(o)), true
	}
	if p, ok := decodePosition(b); ok {
		return encodeCursor(f, positionKey(p)), true
	}
	if k, ok := decodeSessionKey(b); ok {
		return encodeCursor(f, sessionKey(k)), true
	}
	if id, ok := decodeApplicationKey(b); ok {
		return encodeCursor(f, []byte(id)), true
	}
	return "", false
}

// EncodeCursor is a cursor of the list with that key.
func EncodeCursor(list string, key []byte) string { return encodeCursor(fingerprintOf(list), key) }

// ProblemTypes are the slugs that are explained.
func ProblemTypes() []string {
	var slugs []string
	for _, t := range problemTypes {
		slugs = append(slugs, t.Slug)
	}
	return slugs
}

// DocumentYAML is the OpenAPI document as it is written.
func DocumentYAML() []byte { return documentYAML }
