package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// template is one kind of event with holes: what is different in every event is
// written over the copy in place.
type template struct {
	text    []byte
	id      int   // offset of the id
	session int   // offset of the session's id
	time    int   // offset of the timestamp
	digits  []int // offsets of decimal digits
	hexes   []int // offsets of hexadecimal digits
}

const timeLen = len("2006-01-02T15:04:05.000000Z")

// templates are the events to choose from. They are the same in every run.
var templates = sync.OnceValue(func() []template {
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]template, 0, 96)
	for range cap(all) / 9 {
		for _, t := range eventTypes {
			all = append(all, compile(t.category, t.name, t.data(rng)))
		}
	}
	return all
})

// compile finds the holes: # is a decimal digit, ~ a hexadecimal one.
func compile(category, name, data string) template {
	hole := strings.Repeat(".", idLen)
	head := `{"id":"` + hole + `","session_id":"` + hole + `","category":"` + category +
		`","name":"` + name + `","data":`
	tail := `,"timestamp":"` + strings.Repeat(".", timeLen) + `"}`
	t := template{text: []byte(head + data + tail)}
	t.id = len(`{"id":"`)
	t.session = t.id + idLen + len(`","session_id":"`)
	t.time = len(t.text) - timeLen - len(`"}`)
	for i, c := range t.text {
		switch c {
		case '#':
			t.digits = append(t.digits, i)
		case '~':
			t.hexes = append(t.hexes, i)
		}
	}
	return t
}

// source makes the events of one connection.
type source struct {
	ids   ids
	conn  uint16
	rng   *rand.Rand
	stamp [timeLen]byte // the timestamp written last …
	until event.Micros  // … and the end of its second
}

func newSource(s ids, conn int) *source {
	return &source{ids: s, conn: uint16(conn), rng: rand.New(rand.NewPCG(s.key, uint64(conn)))}
}

// append appends event n, which happened at the instant, as JSON. It allocates
// only when b has no room.
func (s *source) append(b []byte, n uint64, at event.Micros) []byte {
	all := templates()
	r := s.rng.Uint64()
	t := &all[r%uint64(len(all))]
	from := len(b)
	b = append(b, t.text...)
	e := b[from:]
	nm := name{s.conn, n}
	s.ids.put(e[t.id:], nm, at)
	s.ids.putSession(e[t.session:], nm)
	s.putTime(e[t.time:], at)
	for i, hole := range t.digits {
		if i%16 == 0 {
			r = s.rng.Uint64()
		}
		e[hole] = "0123456789012345"[r&15]
		r >>= 4
	}
	for i, hole := range t.hexes {
		if i%16 == 0 {
			r = s.rng.Uint64()
		}
		e[hole] = "0123456789abcdef"[r&15]
		r >>= 4
	}
	return b
}

// putTime writes the instant. Only the fraction differs within a second, and
// writing just that is ten times cheaper.
func (s *source) putTime(dst []byte, at event.Micros) {
	const second = event.Micros(time.Second / time.Microsecond)
	if at >= s.until || at < s.until-second {
		copy(s.stamp[:], at.String())
		s.until = at - at%second + second
	}
	fraction := at % second
	for i := timeLen - 2; i > timeLen-2-6; i-- {
		s.stamp[i] = '0' + byte(fraction%10)
		fraction /= 10
	}
	copy(dst, s.stamp[:])
}

// spoil breaks one rule in an event made by append, without changing its length.
func (s *source) spoil(e []byte) {
	const sessionAt = len(`{"id":"`) + idLen + len(`","session_id":"`)
	timeAt := len(e) - timeLen - len(`"}`)
	switch s.rng.IntN(4) {
	case 0: // a month that there is none
		copy(e[timeAt+5:], "13")
	case 1: // long after now
		copy(e[timeAt:], "2999")
	case 2: // a required field is missing, and an unknown one there
		copy(e[sessionAt+idLen:], `","kategory":"`)
	case 3: // an empty session, then space up to the comma
		copy(e[sessionAt:], `"`+strings.Repeat(" ", idLen))
	}
}

// eventTypes are three categories of a web shop with three names each. Data is
// about 300 bytes of the kinds of values that occur: texts, numbers with and
// without fractions, booleans, null, objects, arrays.
var eventTypes = []struct {
	category, name string
	data           func(*rand.Rand) string
}{
	{"page interaction", "page view", pageData},
	{"page interaction", "cta click", pageData},
	{"page interaction", "scroll", pageData},
	{"commerce", "add to cart", cartData},
	{"commerce", "checkout step", cartData},
	{"commerce", "purchase", cartData},
	{"media", "play", mediaData},
	{"media", "pause", mediaData},
	{"media", "progress", mediaData},
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

var (
	hosts     = []string{"www.example.com", "shop.example.com", "m.example.com"}
	paths     = []string{"/", "/products/rain-jacket", "/search", "/products/wool-socks/reviews", "/account/orders", "/blog/how-to-pack-light"}
	languages = []string{"en-GB", "de-DE", "fr-FR", "pt-BR", "ja-JP"}
	browsers  = []string{"Firefox 145", "Chrome 142", "Safari 26.1", "Edge 142"}
)

func pageData(rng *rand.Rand) string {
	return fmt.Sprintf(`{"host":"%s","path":"%s","element":"%s","referrer":%s,"viewport":{"width":1###,"height":8##},`+
		`"browser":"%s","language":"%s","depth":0.##,"since_load_ms":1####,"trace":"~~~~~~~~~~~~~~~~","experiments":["%s","%s"],"consent":%s}`,
		pick(rng, hosts...), pick(rng, paths...), pick(rng, "chat bubble", "header logo", "buy now", "newsletter sign-up", "size chart"),
		pick(rng, "null", `"https://search.example.org/?q=rain+jacket"`, `"https://news.example.net/outdoors"`),
		pick(rng, browsers...), pick(rng, languages...),
		pick(rng, "checkout-b", "checkout-a"), pick(rng, "hero-video", "hero-still"), pick(rng, "true", "false"))
}

func cartData(rng *rand.Rand) string {
	return fmt.Sprintf(`{"cart":"c-~~~~~~~~~~~~","currency":"%s","value":1##.##,"items":[{"sku":"%s-####","name":"%s","price":4#.##,"quantity":%d},`+
		`{"sku":"%s-####","name":"%s","price":1#.##,"quantity":1}],"coupon":%s,"shipping":{"method":"%s","country":"%s"},"host":"%s"}`,
		pick(rng, "EUR", "USD", "GBP", "JPY"),
		pick(rng, "JKT", "SCK", "TNT"), pick(rng, "Rain jacket, blue", "Wool socks (2 pairs)", "Tent for two"), 1+rng.IntN(3),
		pick(rng, "BTL", "LMP", "MAP"), pick(rng, "Bottle 0.75 l", "Head lamp", "Hiking map, Alps"),
		pick(rng, "null", `"AUTUMN10"`, `"WELCOME"`), pick(rng, "standard", "express", "pick-up"), pick(rng, "DE", "FR", "GB", "JP", "BR"),
		pick(rng, hosts...))
}

func mediaData(rng *rand.Rand) string {
	return fmt.Sprintf(`{"video":"%s","title":"%s","position_s":1##.###,"duration_s":9##.#,"quality":"%s","muted":%s,"captions":%s,`+
		`"player":{"version":"4.1#.#","buffer_ms":2###,"dropped_frames":%d},"bitrates":[6###,2###,8##],"host":"%s","path":"%s","language":"%s"}`,
		pick(rng, "v-8812", "v-1207", "v-0331"), pick(rng, "Packing light: three rules", "How a tent is made", "Über den Pass – ein Tag"),
		pick(rng, "1080p", "720p", "auto"), pick(rng, "true", "false"), pick(rng, `"en"`, `"de"`, "null"), rng.IntN(5),
		pick(rng, hosts...), pick(rng, paths...), pick(rng, languages...))
}
