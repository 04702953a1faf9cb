package api

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// credentialBody is what people write to get a credential.
type credentialBody struct {
	Kind      field[string]         `json:"kind"`
	Scopes    field[[]string]       `json:"scopes"`
	ExpiresAt field[string]         `json:"expires_at"`
	JWKS      field[jsontext.Value] `json:"jwks"`
	Origins   field[jsontext.Value] `json:"origins"`
}

// check gives the kind's scopes and end, or what cannot be, app left aside.
func (b *credentialBody) check(now time.Time) (scopes access.Scopes, expires time.Time, violations []event.Violation) {
	violate := func(pointer string, code event.Code, message string) {
		violations = append(violations, event.Violation{Pointer: pointer, Code: code, Message: message})
	}
	switch kind := access.Kind(b.Kind.or("")); kind {
	case access.APIKey:
	case access.ClientSecret, access.PublicKey, access.IngestKey:
		violate("/kind", impossible, "Credentials of the kind "+string(kind)+" are not available yet; api_key is.")
	case "":
		violate("/kind", event.Required, "kind is required: api_key.")
	default:
		violate("/kind", impossible, "kind must be api_key.")
	}
	if b.JWKS.given && !b.JWKS.null {
		violate("/jwks", impossible, "jwks belongs to the kind public_key.")
	}
	if b.Origins.given && !b.Origins.null {
		violate("/origins", impossible, "origins belongs to the kind ingest_key.")
	}
	scopes, err := access.ParseScopes(b.Scopes.or(nil))
	if err != nil {
		violate("/scopes", impossible, "scopes: "+err.Error()+".")
	} else if b.Scopes.given && !b.Scopes.null && scopes == 0 {
		violate("/scopes", impossible, "scopes must not be empty; leave it out for all that the application has.")
	}
	if b.ExpiresAt.given && !b.ExpiresAt.null {
		end, ok := event.ParseTimestamp(b.ExpiresAt.value)
		switch {
		case !ok:
			violate("/expires_at", event.InvalidTimestamp, "expires_at must be a timestamp such as 2031-01-01T00:00:00Z.")
		case !end.Time().After(now):
			violate("/expires_at", impossible, "expires_at must be in the future.")
		}
		expires = end.Time()
	}
	return scopes, expires, violations
}

var tooManyCredentials = &problem.Problem{
	Status: http.StatusConflict, Type: "too-many-credentials", Title: "Too many credentials",
	Detail: "The application has as many credentials as it can have. Delete those that are no longer used.",
}

func (a *api) createCredential(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	var body credentialBody
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	scopes, expires, violations := body.check(a.Now())
	if violations != nil {
		return invalid(violations)
	}
	id := r.PathValue("id")
	credential, key := access.NewAPIKey("cred-"+strings.ToLower(rand.Text()[:16]), scopes, a.Now(), expires)
	var refused error
	app, err := a.Catalog.UpdateApplication(r.Context(), id, func(app *access.Application) error {
		refused = nil
		switch {
		case !scopes.Within(app.Scopes):
			refused = invalid([]event.Violation{{Pointer: "/scopes", Code: impossible,
				Message: "The application itself has only: " + app.Scopes.String() + "."}})
		case len(app.Credentials) >= access.MaxCredentials:
			refused = tooManyCredentials
		}
		app.Credentials = append(app.Credentials, credential)
		return refused
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return catalogError{err}
	}
	a.Log.Info("credential created", "application", id, "credential", credential.ID, "kind", string(credential.Kind), "by", by(r))
	b := appendCredential(nil, &credential, app.Scopes)
	b = appendText(b, "client_id", id)
	b = appendText(b, "secret", key)
	w.Header().Set("Location", "/v1/applications/"+id+"/credentials/"+credential.ID)
	writeJSON(w, http.StatusCreated, append(b, '}'))
	return nil
}

// errNoCredential: the application has no such credential.
var errNoCredential = errors.New("no such credential")

func (a *api) deleteCredential(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	id, credential := r.PathValue("id"), r.PathValue("credential")
	_, err := a.Catalog.UpdateApplication(r.Context(), id, func(app *access.Application) error {
		i := slices.IndexFunc(app.Credentials, func(c access.Credential) bool { return c.ID == credential })
		if i < 0 {
			return errNoCredential
		}
		app.Credentials = slices.Delete(app.Credentials, i, i+1)
		return nil
	})
	if errors.Is(err, errNoCredential) {
		return notFound
	}
	if err != nil {
		return catalogError{err}
	}
	a.Log.Info("credential deleted", "application", id, "credential", credential, "by", by(r))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendCredential appends a credential without the closing brace. The secret
// is not in it.
func appendCredential(b []byte, c *access.Credential, application access.Scopes) []byte {
	b = append(b, `{"id":`...)
	b = appendQuoted(b, c.ID)
	b = appendText(b, "kind", string(c.Kind))
	scopes := c.Scopes
	if scopes == 0 {
		scopes = application
	}
	b = appendScopes(b, scopes)
	b = appendText(b, "hint", c.Hint)
	b = appendInstant(b, "created_at", event.Now(c.CreatedAt))
	if c.ExpiresAt.IsZero() {
		return append(b, `,"expires_at":null`...)
	}
	return appendInstant(b, "expires_at", event.Now(c.ExpiresAt))
}
