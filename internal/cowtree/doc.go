// Package cowtree is an ordered copy-on-write map of strings, whose versions share unchanged
// nodes. A [Tree] never changes and may be read by any number of goroutines. An [Edit]
// makes the next tree and copies only the nodes on the paths to its changes, each
// once. [Diff] walks two trees in order and skips shared nodes, so that its cost
// depends on the changes, not on the size.
//
// It is a B+tree. For each key, a node keeps the eight bytes after the common prefix of its keys
// as one number. Most comparisons look at these numbers, which lie side by side, and not at the
// keys, which are scattered in memory.
//
// Items are pointers, and two items are the same if the pointers are.
package cowtree
