package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// applicationBody is what people write about an application.
type applicationBody struct {
	ID              field[string]   `json:"id"`
	Name            field[string]   `json:"name"`
	Description     field[string]   `json:"description"`
	Owner           field[string]   `json:"owner"`
	Scopes          field[[]string] `json:"scopes"`
	EventTypes      field[[]string] `json:"event_types"`
	Rate            field[rateBody] `json:"rate"`
	FutureTolerance field[int64]    `json:"future_tolerance_seconds"`
	Disabled        field[bool]     `json:"disabled"`
}

type rateBody struct {
	PerSecond int64        `json:"per_second"`
	Burst     field[int64] `json:"burst"`
}

// defaultScopes of an application: what it takes to send events and to read
// one's own back.
var defaultScopes = []string{string(access.EventsWrite), string(access.EventsRead)}

// apply makes of app what the body says, and gives what cannot be. What the
// body leaves out stays; null is the default.
func (b *applicationBody) apply(app *access.Application) []event.Violation {
	var violations []event.Violation
	violate := func(pointer, message string) {
		violations = append(violations, event.Violation{Pointer: pointer, Code: impossible, Message: message})
	}
	b.Name.set(&app.Name, app.ID)
	b.Description.set(&app.Description, "")
	b.Owner.set(&app.Owner, "")
	b.FutureTolerance.set(&app.FutureToleranceSeconds, int64(access.DefaultFutureTolerance.Seconds()))
	b.Disabled.set(&app.Disabled, false)
	if b.Scopes.given {
		scopes, err := access.ParseScopes(b.Scopes.or(defaultScopes))
		if err != nil {
			violate("/scopes", "scopes: "+err.Error()+".")
		}
		app.Scopes = scopes
	}
	if b.EventTypes.given {
		texts := b.EventTypes.or(nil)
		app.EventTypes = make([]access.Pattern, 0, len(texts))
		for i, text := range texts {
			pattern, err := access.ParsePattern(text)
			if err != nil {
				violate("/event_types/"+strconv.Itoa(i), strconv.Quote(text)+" is no pattern: "+err.Error()+".")
			}
			app.EventTypes = append(app.EventTypes, pattern)
		}
	}
	if b.Rate.given {
		app.Rate = access.Rate{}
		if !b.Rate.null {
			rate := b.Rate.value
			app.Rate = access.Rate{PerSecond: rate.PerSecond, Burst: rate.Burst.or(rate.PerSecond)}
			if app.Rate == (access.Rate{}) {
				violate("/rate/per_second", "rate/per_second must be at least 1; without a limit, rate is null.")
			}
		}
	}
	for _, e := range app.Check() {
		violate("/"+e.Field, e.Field+" "+e.Message+".")
	}
	return violations
}

// invalid refuses a body that is well-formed and says what cannot be.
func invalid(violations []event.Violation) error {
	return &problem.Problem{
		Status: http.StatusUnprocessableEntity, Type: "invalid-field", Title: "Invalid field",
		Detail: violations[0].Message, Violations: violations,
	}
}

func (a *api) listApplications(w http.ResponseWriter, r *http.Request) error {
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	limit := p.limit()
	f := fingerprintOf("applications")
	start, err := cursor(p, f, decodeApplicationKey)
	if err != nil {
		return err
	}
	all := a.Catalog.Applications()
	page := page[access.Application]{
		limit: limit,
		chunk: limit + 1,
		fetch: func(after *access.Application, limit int) ([]access.Application, error) {
			var id string
			switch {
			case after != nil:
				id = after.ID
			case start != nil:
				id = *start
			}
			i, found := slices.BinarySearchFunc(all, id, func(a access.Application, id string) int { return strings.Compare(a.ID, id) })
			if found {
				i++
			}
			return all[i:min(len(all), i+limit)], nil
		},
		render: appendApplication,
		next:   func(last *access.Application) string { return encodeCursor(f, []byte(last.ID)) },
	}
	return page.write(w)
}

func (a *api) createApplication(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	var body applicationBody
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	if !body.ID.given || body.ID.null {
		return invalid([]event.Violation{{Pointer: "/id", Code: event.Required, Message: "id is required."}})
	}
	id := body.ID.value
	scopes, err := access.ParseScopes(defaultScopes)
	if err != nil {
		return err
	}
	app := access.Application{
		ID:                     id,
		Name:                   id,
		Scopes:                 scopes,
		FutureToleranceSeconds: int64(access.DefaultFutureTolerance.Seconds()),
		CreatedAt:              event.Now(a.Now()).Time(),
	}
	if violations := body.apply(&app); violations != nil {
		return invalid(violations)
	}
	if err := a.Catalog.CreateApplication(r.Context(), app); err != nil {
		return catalogError{err}
	}
	a.Log.Info("application created", "application", id, "scopes", app.Scopes.String(), "by", by(r))
	w.Header().Set("Location", "/v1/applications/"+id)
	writeJSON(w, http.StatusCreated, appendApplication(nil, &app))
	return nil
}

func (a *api) getApplication(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	app, err := a.Catalog.Application(r.PathValue("id"))
	if err != nil {
		return catalogError{err}
	}
	writeJSON(w, http.StatusOK, appendApplication(nil, &app))
	return nil
}

func (a *api) changeApplication(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	var body applicationBody
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	id := r.PathValue("id")
	var refused error
	app, err := a.Catalog.UpdateApplication(r.Context(), id, func(app *access.Application) error {
		violations := body.apply(app)
		if body.ID.given && body.ID.or("") != id {
			violations = append(violations, event.Violation{Pointer: "/id", Code: impossible, Message: "id cannot be changed."})
		}
		if refused = nil; violations != nil {
			refused = invalid(violations)
		}
		return refused
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return catalogError{err}
	}
	a.Log.Info("application changed", "application", id, "scopes", app.Scopes.String(), "disabled", app.Disabled, "by", by(r))
	writeJSON(w, http.StatusOK, appendApplication(nil, &app))
	return nil
}

func (a *api) deleteApplication(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := a.Catalog.DeleteApplication(r.Context(), id); err != nil {
		return catalogError{err}
	}
	a.Log.Info("application deleted", "application", id, "by", by(r))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// by is who makes the request, for the log.
func by(r *http.Request) string { return access.FromContext(r.Context()).Application }

func appendApplication(b []byte, app *access.Application) []byte {
	b = append(b, `{"id":`...)
	b = appendQuoted(b, app.ID)
	b = appendText(b, "name", app.Name)
	b = appendText(b, "description", app.Description)
	b = appendText(b, "owner", app.Owner)
	b = appendScopes(b, app.Scopes)
	b = append(b, `,"event_types":[`...)
	for i, p := range app.EventTypes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, p.String())
	}
	b = append(b, `],"rate":`...)
	if app.Rate.Limited() {
		b = append(b, `{"per_second":`...)
		b = strconv.AppendInt(b, app.Rate.PerSecond, 10)
		b = append(b, `,"burst":`...)
		b = strconv.AppendInt(b, app.Rate.Burst, 10)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"future_tolerance_seconds":`...)
	b = strconv.AppendInt(b, app.FutureToleranceSeconds, 10)
	b = append(b, `,"disabled":`...)
	b = strconv.AppendBool(b, app.Disabled)
	b = appendInstant(b, "created_at", event.Now(app.CreatedAt))
	b = append(b, `,"credentials":[`...)
	for i := range app.Credentials {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendCredential(b, &app.Credentials[i], app.Scopes), '}')
	}
	return append(b, "]}"...)
}

func appendScopes(b []byte, scopes access.Scopes) []byte {
	b = append(b, `,"scopes":[`...)
	for i, s := range scopes.Strings() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, s)
	}
	return append(b, ']')
}
