package storetest_test

import (
	"sync"
	"testing"

	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/storetest"
)

func TestModel(t *testing.T) {
	t.Parallel()
	var models sync.Map // a Model's files: by directory
	storetest.Run(t, func(_ *testing.T, dir string) store.Store {
		m, _ := models.LoadOrStore(dir, storetest.NewModel())
		return m.(*storetest.Model)
	})
}
