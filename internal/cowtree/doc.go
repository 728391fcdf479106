// Package cowtree is an ordered map of strings whose versions share what they have in
// common. A [Tree] never changes and may be read by any number of goroutines; an [Edit]
// makes the next one, and copies only the nodes on the way to what it changes, each of
// them once. [Diff] walks two trees in order and skips what they share, so that its cost
// depends on the changes, not on the size.
//
// It is a B+tree. A node keeps, for each of its keys, the eight bytes behind the prefix that
// all its keys have in common, as one number. Most comparisons look at these numbers, which
// lie side by side, and not at the keys, each of which is somewhere else in memory.
//
// Items are pointers, and two items are the same if the pointers are.
package cowtree
