package api

import (
	"net/http"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/store"
)

// nobody is an application that there cannot be: its id is no slug.
const nobody = "-"

// LiveFilter is which events the request for a live stream asks for, narrowed to
// what its sender may see. The error is a *problem.Problem.
func LiveFilter(r *http.Request) (store.Filter, error) {
	p, err := paramsOf(r)
	if err != nil {
		return store.Filter{}, err
	}
	f := p.filter()
	if err := p.check(); err != nil {
		return store.Filter{}, err
	}
	if !own(access.FromContext(r.Context()), &f.Application) {
		f.Application = nobody // as in a list, there is nothing to see
	}
	return f, nil
}
