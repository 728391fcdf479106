package main

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{8, 1, 2, 4}, 3},
		{[]float64{1, 1, 1, 1000}, 1},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestMediansTakesEachFigureWhereItIs(t *testing.T) {
	got := medians([]figures{{"a": 1, "b": 5}, {"a": 3}, {"a": 100, "b": 7}})
	if got["a"] != 3 || got["b"] != 6 || len(got) != 2 {
		t.Errorf("medians are %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got := spread([]figures{{"a": 90}, {"a": 100}, {"a": 120}}, "a"); got != 0.15 {
		t.Errorf("spread is %v, want 0.15", got)
	}
	if got := spread(nil, "a"); !math.IsNaN(got) {
		t.Errorf("spread of nothing is %v", got)
	}
}

func TestRatio(t *testing.T) {
	if r, ok := ratio(3, 4); r != 0.75 || !ok {
		t.Errorf("3 to 4 is %v, %v", r, ok)
	}
	for _, c := range [][2]float64{{1, 0}, {0, 0}, {math.NaN(), 1}, {math.Inf(1), 1}} {
		if r, ok := ratio(c[0], c[1]); ok {
			t.Errorf("%v to %v is %v, want none", c[0], c[1], r)
		}
	}
}

func TestRounded(t *testing.T) {
	for v, want := range map[float64]float64{21634.7: 21630, 0.123456: 0.1235, 0: 0, 300421: 300400} {
		if got := rounded(v); got != want {
			t.Errorf("%v is rounded to %v, want %v", v, got, want)
		}
	}
}
