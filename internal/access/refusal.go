package access

import (
	"net/http"

	"github.com/the-eye/eye/internal/problem"
)

// Error is why a request has no principal. The values below are all there are.
type Error struct {
	reason string // for metrics and logs
	detail string // for whoever sent the request
}

func (e *Error) Error() string { return e.detail }

// Reason is a short stable word: missing, malformed, unknown, expired, disabled.
func (e *Error) Reason() string { return e.reason }

// Why a request has no principal.
var (
	ErrMissing   = &Error{"missing", "Send a credential: the header Authorization: Bearer KEY."}
	ErrMalformed = &Error{"malformed", "The credential is damaged: an API key is eye_ and 49 letters and digits, the last of which check the others. Was it cut or mistyped?"}
	ErrUnknown   = &Error{"unknown", "No such credential here. It may have been revoked, or belong to another installation."}
	ErrExpired   = &Error{"expired", "The credential has expired. Make a new one."}
	ErrDisabled  = &Error{"disabled", "The application that this credential belongs to is disabled."}
)

// realm of every challenge.
const realm = `Bearer realm="eye"`

// Unauthorized answers 401 for an error of Authenticate. RFC 6750, section 3.1:
// a request without any credential is told no error code.
func Unauthorized(w http.ResponseWriter, err error) {
	challenge := realm + `, error="invalid_token"`
	p := problem.Problem{Status: http.StatusUnauthorized, Type: "unauthenticated", Title: "Not authenticated"}
	if e, ok := err.(*Error); ok {
		p.Detail = e.detail
		if e == ErrMissing {
			challenge = realm
		} else {
			challenge += `, error_description="` + e.reason + `"`
		}
	}
	w.Header().Set("WWW-Authenticate", challenge)
	p.Write(w)
}

// Forbidden answers 403 because the credential lacks the scope.
func Forbidden(w http.ResponseWriter, need Scope) {
	w.Header().Set("WWW-Authenticate", realm+`, error="insufficient_scope", scope="`+string(need)+`"`)
	p := problem.Problem{
		Status: http.StatusForbidden, Type: "insufficient-scope", Title: "Not allowed",
		Detail: "This needs the scope " + string(need) + ", which the credential does not have.",
	}
	p.Write(w)
}
