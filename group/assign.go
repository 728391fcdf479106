package group

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"slices"
)

// Member is a member of a group.
type Member struct {
	// Name is its Config.Member.
	Name string
	// Weight is its Config.Weight.
	Weight int
}

// assign returns the member that should own each partition, as an index into members,
// which are ordered by name. It depends only on its arguments and uses no floating
// point, so that all members come to the same result.
//
// The shares are exact: every member has its part of the partitions by weight, rounded. A
// hash of each pair of member and partition decides who owns which: the best pairs come
// first, as long as the partition is free and the member has room. So a new member takes
// its share from all others and leaves the rest in place, except for the few partitions
// whose owners no longer have room.
func assign(partitions int, members []Member) []int {
	owners := slices.Repeat([]int{-1}, partitions)
	if len(members) == 0 {
		return owners
	}
	room := shares(partitions, members)
	pairs := make([]pair, 0, partitions*len(members))
	for m := range members {
		for p := range partitions {
			pairs = append(pairs, pair{distance(members[m], p), p, m})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), a.partition-b.partition, a.member-b.member)
	})
	for _, pair := range pairs {
		if owners[pair.partition] < 0 && room[pair.member] > 0 {
			owners[pair.partition] = pair.member
			room[pair.member]--
		}
	}
	return owners
}

// pair is a member that may own a partition; the one with the least distance should.
type pair struct {
	distance          uint64
	partition, member int
}

// shares is how many partitions each member is to have: its part by weight, rounded down,
// and one more for those to whom most is missing.
func shares(partitions int, members []Member) []int {
	total := 0
	for _, m := range members {
		total += m.Weight
	}
	out := make([]int, len(members))
	order := make([]int, len(members))
	left := partitions
	for i, m := range members {
		out[i] = partitions * m.Weight / total
		left -= out[i]
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(partitions*members[b].Weight%total, partitions*members[a].Weight%total)
	})
	for _, i := range order[:left] {
		out[i]++
	}
	return out
}

// distance is a number that is evenly distributed on a logarithmic scale and grows more
// slowly for heavier members: that is how likely each is to be the nearest.
func distance(m Member, partition int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Name))
	_, _ = h.Write([]byte{0, byte(partition >> 8), byte(partition)})
	return minusLog(mixed(h.Sum64())) << 16 / uint64(m.Weight)
}

// mixed spreads what differs in a few bits over all of them.
func mixed(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// logDigits is how many binary digits minusLog has behind the point.
const logDigits = 32

// minusLog is the negative logarithm to base 2 of x as a fraction of 2^64. It takes the
// digits from the squares of what is left, which has the same result on every machine.
func minusLog(x uint64) uint64 {
	if x == 0 {
		return 64 << logDigits
	}
	zeros := bits.LeadingZeros64(x)
	x <<= zeros // from 2^63 to 2^64: the fraction is from 1 to 2
	log := uint64(63 - zeros)
	for range logDigits {
		high, low := bits.Mul64(x, x)
		log <<= 1
		if high>>63 == 1 {
			log |= 1
			x = high
		} else {
			x = high<<1 | low>>63
		}
	}
	return 64<<logDigits - log
}
