package main

import (
	"bytes"
	"encoding/json"
	"slices"
)

// result is one line of the report: a row at one number of callers, for both clients.
type result struct {
	name    string
	callers int
	ours    []figures // one per round
	peer    []figures
	plain   []figures // ours without coalescing, where the row asks for it
	err     error

	// ofVariant: ours is a variant of our client, and peer our client without it.
	ofVariant bool

	// explicit is the operations per second of the same work in Txns of txnSize
	// neighbouring keys that the program fills itself; 0 without such a row.
	// sameKeys is the same with the keys of this row.
	explicit, sameKeys float64
}

// names are what the report calls the two sides.
func (r *result) names() (ours, peer string) {
	if r.ofVariant {
		return "ours, with", "ours, without"
	}
	return oursName, peerName
}

// has reports whether a figure was measured for our client.
func (r *result) has(name string) bool {
	_, ok := medians(r.ours)[name]
	return ok
}

// comparison is one figure of both clients.
type comparison struct {
	name        string
	ours, peer  float64
	hasOurs     bool
	hasPeer     bool
	ratio       float64
	hasRatio    bool
	ownOfTheRow bool // not one of commonFigures
}

// comparisons lists the medians: the common figures in their order, then the
// row's own by name.
func (r *result) comparisons() []comparison {
	ours, peer := medians(r.ours), medians(r.peer)
	var own []string
	for _, m := range []figures{ours, peer} {
		for name := range m {
			if !slices.Contains(commonFigures, name) && !slices.Contains(own, name) {
				own = append(own, name)
			}
		}
	}
	slices.Sort(own)
	var out []comparison
	for i, name := range slices.Concat(commonFigures, own) {
		c := comparison{name: name, ownOfTheRow: i >= len(commonFigures)}
		c.ours, c.hasOurs = ours[name]
		c.peer, c.hasPeer = peer[name]
		if c.hasOurs && c.hasPeer {
			c.ratio, c.hasRatio = ratio(c.ours, c.peer)
		}
		if c.hasOurs || c.hasPeer {
			out = append(out, c)
		}
	}
	return out
}

// MarshalJSON writes NAME, peer_NAME and NAME_ratio for every figure, in the
// order of the table, and plain_NAME and NAME_of_plain if the row measures them. It
// leaves out figures that were not measured.
func (r *result) MarshalJSON() ([]byte, error) {
	var o object
	o.field("name", r.name)
	o.field("callers", r.callers)
	if r.ofVariant {
		o.field("peer", oursName)
	}
	if r.err != nil {
		o.field("error", r.err.Error())
	} else {
		r.figures(&o)
	}
	return []byte("{" + o.text.String() + "}"), o.failed
}

func (r *result) figures(o *object) {
	plain := medians(r.plain)
	for _, c := range r.comparisons() {
		if c.hasOurs {
			o.field(c.name, rounded(c.ours))
		}
		if c.hasPeer {
			o.field("peer_"+c.name, rounded(c.peer))
		}
		if c.hasRatio {
			o.field(c.name+"_ratio", rounded(c.ratio))
		}
		if p, ok := plain[c.name]; ok {
			o.field("plain_"+c.name, rounded(p))
			if of, ok := ratio(c.ours, p); ok && c.hasOurs {
				o.field(c.name+"_of_plain", rounded(of))
			}
		}
	}
	if of, ok := r.of(r.explicit); ok {
		o.field("explicit_ops", rounded(r.explicit))
		o.field("ops_of_explicit", rounded(of))
	}
	if of, ok := r.of(r.sameKeys); ok {
		o.field("same_keys_ops", rounded(r.sameKeys))
		o.field("ops_of_same_keys", rounded(of))
	}
}

// object is a JSON object whose fields stay in order.
type object struct {
	text   bytes.Buffer
	failed error
}

func (o *object) field(name string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		o.failed = err
		return
	}
	if o.text.Len() > 0 {
		o.text.WriteByte(',')
	}
	o.text.WriteString(`"` + name + `":`)
	o.text.Write(text)
}

// report is the object on the last line.
type report struct {
	Rows []*result `json:"rows"`
}
