package lua

import "testing"

func TestFormat(t *testing.T) {
	expect(t, `
print(string.format("%d|%5d|%-5d|%05d|%+d|%i", 42, 42, 42, 42, 42, -1))
print(string.format("%x|%X|%o|%x|%c%c", 255, 255, 8, -1, 76, 117))
print(string.format("%f|%.2f|%8.3f|%e|%g|%g|%g", 1.5, 1.005, 3.14159, 12345.678, 0.1, 1e20, 100000))
print(string.format("%f|%5.1f|%g", 1 / 0, -1 / 0, 0 / 0))
print(string.format("%s|%10s|%-10s|%.2s|%s|%s", "abc", "abc", "abc", "abc", nil, true))
print(string.format("%5s|%s", setmetatable({}, {__tostring = function() return "me" end}), 1.5))
print(string.format("%q", 'a "quoted"\\ \n text\0'))
print(string.format("100%% of %s", "it"))
print(("%d items"):format("7"))
for _, bad in ipairs {{"%d"}, {"%d", "x"}, {"%d", 1.5}, {"%d", {}}, {"%y", 1}, {"%"}, {"%123d", 1}, {"%f", {}}, {"%q", {}}, {"%s"}} do
	print((select(2, pcall(string.format, unpack(bad)))))
end
`, `42|   42|42   |00042|+42|-1
ff|FF|10|ffffffffffffffff|Lu
1.500000|1.00|   3.142|1.234568e+04|0.1|1e+20|100000
inf| -inf|nan
abc|       abc|abc       |ab|nil|true
   me|1.5
"a \"quoted\"\\ \
 text\000"
100% of it
7 items
script:12: bad argument #2 to 'format' (number expected, got no value)
script:12: bad argument #2 to 'format' (number expected, got string)
script:12: bad argument #2 to 'format' (number has no integer representation)
script:12: bad argument #2 to 'format' (number expected, got table)
script:12: invalid conversion '%y' to 'format'
script:12: invalid conversion '%' to 'format'
script:12: invalid conversion '%123' to 'format'
script:12: bad argument #2 to 'format' (number expected, got table)
script:12: bad argument #2 to (anonymous) (string expected, got table)
script:12: bad argument #2 to (anonymous) (value expected)
`)
}

func TestBaseLibrary(t *testing.T) {
	expect(t, `#!/usr/bin/env sillylua
print(table.concat({1, 2, "x"}, "-"), table.concat({}), table.concat({1, 2, 3}, ",", 2, 3))
print(pcall(table.concat, {1, {}, 3}))
print(table.unpack({1, 2, 3}, 2), unpack({}), select("#", table.unpack({}, 1, 3)))
print(table.pack(1, nil, 3).n, pcall(table.unpack, {}, 1, 1e8))
print(load("return ... + 1")(41), load(function() return nil end)(), load("x =") == nil)
print(load("return x", "chunk", "t", {x = "env"})())
print(("ab"):rep(3), ("ab"):rep(3, ","), ("ab"):rep(0), ("").rep("", 1e18), pcall(string.rep, "x", 1e12))
print(collectgarbage "count" > 0, collectgarbage(), collectgarbage "step")
local list = {5, 2, 8, 1}
table.sort(list)
print(table.concat(list, " "))
table.sort(list, function(a, b) return a > b end)
print(table.concat(list, " "))
print(pcall(table.sort, {1, "x"}))
print(pcall(table.sort, {3, 2, 1}, function() error "no order" end))
local numbers = {}
for i = 1, 100000 do numbers[i] = i end
print(#table.concat(numbers), channel, os.setenv)
io.write("no ", 1, " newline\n")
print(pcall(require, "silly.net.http"))
print(arg[0], #arg, ...)
`, "1-2-x\t\t2,3\n"+`false	script:3: invalid value (a table) at index 2 in table for 'concat'
2	nil	3
3	false	script:5: too many results to unpack
42	nil	true
env
`+"ababab\tab,ab,ab\t\t\tfalse\tscript:8: resulting string too large\n"+`true	0	0
1 2 5 8
8 5 2 1
false	script:15: attempt to compare string with number
false	script:16: no order
488895	nil	nil
no 1 newline
false	script:21: module silly.net.http of silly is not in this runtime
script	0
`)
}
