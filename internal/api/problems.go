package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/the-eye/eye/internal/store"
)

// problemType explains a type of problem, for the page that it points to.
type problemType struct{ Slug, Title, Text string }

// problemTypes are all types of problems that any part of the server gives.
var problemTypes = []problemType{
	{"busy", "Too much at once", "The requests that are being taken in hold as much memory together as they may. Nothing was accepted; send it again after the time in `Retry-After`."},
	{"catalog-unavailable", "Applications cannot be changed now", "The place where applications are kept did not answer in time. The change may or may not have happened: read it back before trying again."},
	{"conflict", "Changed at the same time", "Others kept changing the same application. Read it and try again."},
	{"cut-body", "The body did not arrive whole", "The connection broke, or the compressed body is damaged. Nothing was accepted."},
	{"exists", "It exists", "An application with this id is there already."},
	{"insufficient-scope", "Not allowed", "The credential works but lacks the scope that the call needs. `WWW-Authenticate` names the scope."},
	{"internal", "Internal error", "A fault of The Eye. Its log has more under the `request_id`."},
	{"invalid-body", "Invalid body", "The body is no JSON, or has unknown or repeated members or members of a wrong type. `violations` names the first."},
	{"invalid-cursor", "Invalid cursor", "A cursor goes on with the list that it came from: same path, same filters, same order."},
	{"invalid-field", "Invalid field", "The body is well-formed, and says something that cannot be. `violations` names each member."},
	{"invalid-parameter", "Invalid parameter", "A parameter of the query is unknown, given twice, or says something that cannot be. `violations` names each."},
	{"invalid-preference", "Invalid preference", "The header `Prefer` asks for something that there is not."},
	{"journal-unavailable", "The journal cannot take events now", "Nothing was accepted. Send the same events with the same ids again after the time in `Retry-After`."},
	{"not-alive", "Not alive", "A part of the server no longer does its work. `checks` names it."},
	{"not-found", "Not found", "There is no such thing, or the credential may not see it."},
	{"not-ready", "Not ready", "The server cannot do all of its work now. `checks` says what cannot."},
	{"rate-limited", "Too many events", "The application sends more events a second than it may. Nothing was accepted: send the same events again after the time in Retry-After."},
	{"refused", "No event was accepted", "Every event of the request broke a rule, and lies in quarantine under its receipt with all the rules that it broke."},
	{"slow-body", "The body came too slowly", "Nothing was accepted. Send less at once, or on a better line."},
	{"store-unavailable", "The store cannot be read now", "Events are still taken in, and can be read later."},
	{"too-large", "Too large", "The body has more bytes than a request of this kind may have."},
	{"too-many-credentials", "Too many credentials", "Delete those that are no longer used."},
	{"too-slow", "The answer took too long", "Ask for less: a shorter time range, a session, or a smaller limit."},
	{"unauthenticated", "Not authenticated", "No credential came with the request, or one that does not work. `WWW-Authenticate` says which."},
	{"unsupported-content-coding", "Unsupported content coding", "The body is compressed in a way that this path does not take. Events may come with gzip or zstd, everything else as it is."},
	{"unsupported-media-type", "Unsupported media type", "The body is in a form that this path does not take."},
}

func serveProblem(w http.ResponseWriter, r *http.Request) error {
	i := slices.IndexFunc(problemTypes, func(t problemType) bool { return t.Slug == r.PathValue("type") })
	if i < 0 {
		return store.ErrNotFound
	}
	page, err := renderDocs("problem", problemTypes[i])
	if err != nil {
		return err
	}
	writeHTML(w, page)
	return nil
}

func indent(text []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return string(text)
	}
	return b.String()
}
