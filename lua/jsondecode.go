package lua

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"
)

// decodeJSON reads the first JSON value of a text, and returns how many bytes it took.
// Integers stay what they are, or are refused beyond 2^63. A null is nil, and inside an array json.null.
func decodeJSON(text string) (value glua.LValue, end int, err error) {
	if !utf8.ValidString(text) {
		return nil, 0, errors.New("the text is not UTF-8")
	}
	d := &decoder{json.NewDecoder(strings.NewReader(text))}
	d.UseNumber()
	token, err := d.Token()
	if err == nil {
		value, err = d.value(token, maxJSONDepth)
	}
	end = int(d.InputOffset())
	if err != nil {
		return nil, 0, describeJSON(err, end)
	}
	return value, end, nil
}

// decoder makes Lua values of the tokens of a JSON text.
type decoder struct{ *json.Decoder }

func (d *decoder) value(token json.Token, depth int) (glua.LValue, error) {
	switch v := token.(type) {
	case bool:
		return glua.LBool(v), nil
	case string:
		return glua.LString(v), nil
	case json.Number:
		return numberValue(string(v))
	case json.Delim:
		if depth == 0 {
			return nil, errTooDeep
		}
		if v == '[' {
			return d.array(depth - 1)
		}
		return d.object(depth - 1)
	}
	return glua.LNil, nil
}

func numberValue(text string) (glua.LValue, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return IntegerValue(n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the number %s is too large", text)
	case !strings.ContainsAny(text, ".eE") && strconv.FormatFloat(f, 'f', 0, 64) != text:
		return nil, fmt.Errorf("the integer %s is beyond 2^63 and would lose digits", text)
	}
	return glua.LNumber(f), nil
}

func (d *decoder) array(depth int) (glua.LValue, error) {
	table := newTable(0, 0)
	for i := 1; d.More(); i++ {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.value(token, depth)
		if err != nil {
			return nil, err
		}
		if value == glua.LNil {
			value = jsonNull
		}
		table.RawSetInt(i, value)
	}
	_, err := d.Token() // the bracket
	return table, err
}

func (d *decoder) object(depth int) (glua.LValue, error) {
	table := newTable(0, 0)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.value(token, depth)
		if err != nil {
			return nil, err
		}
		table.RawSetString(name.(string), value) // the decoder accepts nothing else as a name
	}
	_, err := d.Token() // the brace
	return table, err
}

// describeJSON says where the text is wrong; the decoder's offsets differ by one.
func describeJSON(err error, end int) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the text ends too early")
	case errors.As(err, &syntax):
		return fmt.Errorf("%w near position %d", err, syntax.Offset)
	}
	return fmt.Errorf("%w near position %d", err, end)
}
