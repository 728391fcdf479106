package client

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// painPoints lists complaints of users of etcd clients, the issues that report them
// (of etcd-io/etcd unless stated otherwise), and the tests that show that this
// client does not have the problem.
var painPoints = []struct {
	complaint string
	issues    string
	tests     []string
}{
	{"watches stall without a word on a partitioned or dead member", "8980, 7247, 12534, 17611",
		[]string{"TestWatchMovesOn", "TestWatchLeavesSilentMember", "TestQuietStreamOfAStuckMember", "TestWatchState"}},
	{"buffers of watches grow until memory is gone", "kubernetes#138217, 21203",
		[]string{"TestWatchSlowReader", "TestSlowReader"}},
	{"a token's expiry kills live watches", "12385, 11954, 8914, 14995",
		[]string{"TestAuthTokenExpires", "TestAuthTokenForgotten"}},
	{"retried writes are applied twice", "14890, 18424, jetcd#1444",
		[]string{"TestPutConnectionCut", "TestOtherCallsConnectionCut", "TestGrantAnswerLost"}},
	{"writes that were never sent are not sent again", "12020, 6691, 8327",
		[]string{"TestNotSentIsSentAgain", "TestGoAwayInMidCall", "TestMovesToAnotherMember"}},
	{"a member that hangs, defragments or is cut off stays in use", "10816, 8673, 16276, 18882",
		[]string{"TestHalfDeadMember", "TestSetAsideAndBack", "TestProbes"}},
	{"a half-open connection is noticed after minutes", "7941, grpc-go#7542",
		[]string{"TestHalfDeadMember", "TestSilentPeer", "TestSilentPeerMetBySparseCalls"}},
	{"keep-alive draws too_many_pings", "15719, 8905",
		[]string{"TestIdleConnectionHasNoPings", "TestPingSpacingWithTraffic", "TestPingSpacing"}},
	{"the keep-alive channel closes and gives no reason", "10821, 7472",
		[]string{"TestLeaseRevokedBehindItsBack", "TestLeaseForbidden", "TestLeaseLostInTime"}},
	{"many leases lapse, or come in storms", "11886, jetcd#749, 13536, 7446",
		[]string{"TestManyLeases", "TestManyLeasesThroughAFollower", "TestKeepAliveSpreadsOut"}},
	{"constructors hang", "14631, 6479, 7353",
		[]string{"TestConnectsWhenNeeded", "TestTimeoutOfConnecting", "TestStrangePeers"}},
	{"what a dial timeout means keeps changing", "6162, 9829, 21830, 21832",
		[]string{"TestReady", "TestWrongEndpoints", "TestDialTimeout"}},
	{"storms of Authenticate", "9615, 11826, 22338",
		[]string{"TestAuthTokenStorm", "TestTokenStorm", "TestWrongPasswordIsAskedSparingly"}},
	{"large reads starve watches on a shared connection", "17529, 15402, 18704",
		[]string{"TestWatchBesideLargeReads"}},
	{"watch responses are too large to be received", "19441, 9294, 18965",
		[]string{"TestWatchLargeResponses", "TestWatchResponseTooLarge", "TestWiden"}},
	{"how a watch ended is unclear", "9818, 6549, 5985",
		[]string{"TestWatchClose", "TestRefusedCreations", "TestCancelReasons"}},
	{"watches resume at the wrong revision", "15248, 15220, 20221",
		[]string{"TestWatchCuts", "TestWatchCutsInFragments", "TestResumeAtNext", "TestResumeBeforeTheFirstEvent"}},
	{"watches hang after a restore", "14303, 16028",
		[]string{"TestWatchHistoryReset", "TestHistoryReset"}},
	{"reconnecting burns CPU", "9578, 9740, 13337, kubernetes#68039",
		[]string{"TestOutage", "TestBackoff", "TestAllDown"}},
	{"dependencies weigh much and conflict", "12124, 11251, 7058, 14533",
		[]string{"TestFewRequirements", "TestLayout"}},
	{"errors.Is does not find errors", "18493, 20098, 5211",
		[]string{"TestAnswers", "TestAnswersAreComplete", "TestErrorUnwrap"}},
	{"options panic, or depend on their order", "10431, 10503, 12167",
		[]string{"TestInvalidRequests", "TestInvalidConfig", "TestWatchInvalid"}},
	{"large ranges need all memory", "12678, 21701",
		[]string{"TestRange", "TestRangeMemory", "TestRangeConnectionsCut"}},
	{"what goes on inside cannot be seen, or the log is full of it", "49746, 9804, 12460, 13138",
		[]string{"TestHooksSeeCallsAndConnections", "TestHooksSeeAWatchResume", "TestHooksSeeLeases", "TestStatsTellOfEndpoints"}},
	{"endpoints and names are not followed", "13853, kubernetes#107767, 11180",
		[]string{"TestSetEndpoints", "TestSync", "TestSyncTLS", "TestDiscovery", "TestDiscoveryTLS"}},
}

// TestPainPoints checks that the tests in the table exist.
func TestPainPoints(t *testing.T) {
	have := make(map[string]bool)
	for _, folder := range []string{"../..", "../../internal", "."} {
		testsIn(t, folder, folder == "../../internal", have)
	}
	for _, p := range painPoints {
		for _, name := range p.tests {
			if !have[name] {
				t.Errorf("%q (%s) names %s, which there is not", p.complaint, p.issues, name)
			}
		}
	}
}

// testsIn collects the tests of a folder, and with deep also those of its
// subfolders.
func testsIn(t *testing.T, folder string, deep bool, have map[string]bool) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != folder && !deep:
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				have[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
