package group

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// someMembers are n members in the order of their names.
func someMembers(n int, weight func(i int) int) (list []Member) {
	for i := range n {
		list = append(list, Member{fmt.Sprintf("host-%04d", i), weight(i)})
	}
	return list
}

func one(int) int { return 1 }

// Every partition has an owner, and every member its share, rounded.
func TestShares(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		members := someMembers(1+random.IntN(20), func(int) int { return 1 + random.IntN(5) })
		partitions, total := 1+random.IntN(200), 0
		for _, m := range members {
			total += m.Weight
		}
		has := make([]int, len(members))
		for p, owner := range assign(partitions, members) {
			if owner < 0 {
				t.Fatalf("partition %d of %d has no owner among %v", p, partitions, members)
			}
			has[owner]++
		}
		for i, m := range members {
			exact := float64(partitions) * float64(m.Weight) / float64(total)
			if math.Abs(float64(has[i])-exact) >= 1 {
				t.Errorf("%v has %d of %d partitions, its share is %.2f", m, has[i], partitions, exact)
			}
		}
	}
}

// Without members nobody owns anything; more members than partitions do no harm.
func TestFew(t *testing.T) {
	t.Parallel()
	if got := assign(3, nil); !slices.Equal(got, []int{-1, -1, -1}) {
		t.Errorf("nobody: %v", got)
	}
	got := assign(3, someMembers(10, one))
	slices.Sort(got)
	if len(slices.Compact(got)) != 3 {
		t.Errorf("ten members for three partitions: %v", got)
	}
}

// When a member comes, little more moves than what it takes.
func TestFewMove(t *testing.T) {
	t.Parallel()
	const partitions = 256
	moved, taken := 0, 0
	for n := 1; n <= 24; n++ {
		before, after := assign(partitions, someMembers(n, one)), assign(partitions, someMembers(n+1, one))
		for p := range before {
			if before[p] != after[p] {
				moved++
			}
			if after[p] == n {
				taken++
			}
		}
	}
	t.Logf("%d partitions were taken by new members, %d moved", taken, moved)
	if moved > 2*taken {
		t.Errorf("%d partitions moved, of which new members have taken %d", moved, taken)
	}
}

// The assignment is the same in every version and on every machine: members of different
// versions must come to the same result.
func TestSameEverywhere(t *testing.T) {
	t.Parallel()
	got := assign(24, []Member{{"a", 1}, {"b", 2}, {"c", 1}})
	want := []int{0, 1, 1, 2, 1, 2, 0, 0, 1, 1, 1, 2, 0, 2, 2, 2, 1, 1, 1, 1, 0, 1, 0, 1}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// minusLog is the logarithm.
func TestMinusLog(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		x := random.Uint64() >> random.IntN(64)
		if x == 0 {
			continue
		}
		got := float64(minusLog(x)) / (1 << logDigits)
		if want := 64 - math.Log2(float64(x)); math.Abs(got-want) > 1e-8 {
			t.Fatalf("of %d: %v, want %v", x, got, want)
		}
	}
	if minusLog(0) < minusLog(1) {
		t.Error("0 is not the farthest")
	}
}

func BenchmarkAssign(b *testing.B) {
	members := someMembers(50, one)
	for b.Loop() {
		assign(1024, members)
	}
}
