package lua

import (
	"regexp"
	"strconv"
	"strings"
)

// The client's errors name fields as Go does. What scripts read names them as scripts do.

// luaNames are the fields that errors name, by their names in Go.
var luaNames = func() map[string]string {
	named := map[string]string{
		"FromKey": "fromkey", "NoPut": "NOPUT", "NoDelete": "NODELETE", "PrevKV": "prev_kv",
		"Then": "success", "Else": "failure", "If": "compare",
		"Username": "user", "CA": "ca", "ServerName": "server_name", "Endpoints": "endpoints",
	}
	for _, list := range [][]string{putFields, getFields, deleteFields, compactFields, grantFields, watchFields, txnFields, compareFields, configFields} {
		for _, name := range list {
			if goName := camelCase(name); named[goName] == "" {
				named[goName] = name
			}
		}
	}
	return named
}()

// camelCase is a name like mod_revision as Go writes it.
func camelCase(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// goName is a name in the text of an error, with what it is a field of and its index; or a
// quoted string, which is the script's own and stays.
var goName = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\b(?:[A-Za-z]+Request\.|Config\.TLSFiles\.|Config\.)?([A-Z][A-Za-z]*)(?:\[([0-9]+)\])?`)

// fieldsInLua is the text of an error about a request or the configuration. Its names are
// fields wherever they stand.
func fieldsInLua(text string) string {
	return goName.ReplaceAllStringFunc(advice.Replace(text), func(found string) string {
		if found[0] == '"' {
			return found
		}
		return fieldInLua(found)
	})
}

// callInLua is the text of an error of a call. It names fields of the configuration, and only
// names behind "Config." are that.
func callInLua(text string) string {
	return goName.ReplaceAllStringFunc(advice.Replace(text), func(found string) string {
		if !strings.HasPrefix(found, "Config.") {
			return found
		}
		return fieldInLua(found)
	})
}

// fieldInLua is a name that goName has found.
func fieldInLua(found string) string {
	parts := goName.FindStringSubmatch(found)
	name, ok := luaNames[parts[1]]
	if !ok {
		return found
	}
	if parts[2] != "" {
		i, _ := strconv.Atoi(parts[2]) // digits
		name += "[" + strconv.Itoa(i+1) + "]"
	}
	return name
}

// advice is what errors say about fields that scripts do not have.
var advice = strings.NewReplacer(
	"Config.TLSFiles.CA or Config.TLS.RootCAs", "ca",
	"Config.TLSFiles.Cert or Config.TLS.Certificates", "cert and key",
	"Config.TLS.ServerName", "server_name",
	"or set Config.TLS", "or set ca",
	"though Config.TLS is set", "though ca, cert or server_name is set",
	", unless you set Config.TLS with InsecureSkipVerify", "",
	"Config.Username and Password, or Credentials", "user and password",
	" (Config.MaxResponseBytes); read less with Limit or KeysOnly, use Range, or raise it", "; read less with limit or keys_only",
	" (Config.MaxResponseBytes); read less in the Txn, with Limit, KeysOnly or fewer operations; or raise it",
	"; read less in the txn, with limit, keys_only or fewer operations")
