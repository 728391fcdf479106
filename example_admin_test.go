package etcd_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"silly.store/etcd"
)

// A backup, reported as it goes. "etcdutl snapshot restore" makes a new cluster
// of the file.
func ExampleMaintenance_SaveSnapshot() {
	saved, err := c.Maintenance().SaveSnapshot(ctx, etcd.SnapshotRequest{
		Progress: func(read, total int64) { log.Printf("%d of %d bytes", read, total) },
	}, "backup.db")
	if err != nil {
		log.Fatal(err) // there is no file then
	}
	log.Printf("%d bytes from %s", saved.Size, saved.Endpoint)
	file, err := os.Stat("backup.db")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the file is whole:", file.Size() == saved.Size)
	// Output: the file is whole: true
}

// All members one after the other, as defragmentation should be done: a member
// answers nothing else meanwhile.
func ExampleMaintenance_Defragment() {
	list, err := c.Cluster().MemberList(ctx, etcd.MemberListRequest{})
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range list.Members {
		if member.IsLearner || len(member.ClientURLs) == 0 {
			continue
		}
		at := member.ClientURLs[0]
		if _, err := c.Maintenance().Defragment(ctx, etcd.DefragmentRequest{Endpoint: at}); err != nil {
			log.Fatal(err)
		}
		status, err := c.Maintenance().Status(ctx, etcd.StatusRequest{Endpoint: at})
		if err != nil {
			log.Fatal(err)
		}
		log.Printf("%s: %d bytes, %d in use", member.Name, status.DBSize, status.DBSizeInUse)
	}
	fmt.Println(len(list.Members), "member")
	// Output: 1 member
}

// A new member joins as a learner. It is to be started then.
func ExampleCluster_MemberAdd() {
	added, err := c.Cluster().MemberAdd(ctx, etcd.MemberAddRequest{
		PeerURLs: []string{"http://10.0.0.4:2380"}, Learner: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, member := range added.Members {
		fmt.Println(member.PeerURLs[0] == "http://10.0.0.4:2380", member.IsLearner)
	}
	// Unordered output:
	// false false
	// true true
}

// A learner gets its vote when it has caught up with the leader.
func ExampleCluster_MemberPromote() {
	var learner etcd.Member // of MemberAddResponse
	for {
		_, err := c.Cluster().MemberPromote(ctx, etcd.MemberPromoteRequest{ID: learner.ID})
		if err == nil {
			break
		}
		if !errors.Is(err, etcd.ErrLearnerNotReady) {
			log.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

// The files may be replaced while the client runs.
func ExampleTLSFiles() {
	c, err := etcd.New(etcd.Config{
		Endpoints: []string{"etcd.example.com:2379"},
		TLSFiles:  etcd.TLSFiles{CA: "ca.pem", Cert: "client.pem", Key: "client.key"},
	})
	if err != nil {
		log.Fatal(err) // it names the file
	}
	defer c.Close()
	fmt.Println(c.Endpoints(), "with TLS")
	// Output: [etcd.example.com:2379] with TLS
}

// The cluster that etcdctl would reach.
func ExampleConfigFromEnv() {
	config, err := etcd.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	c, err := etcd.New(config)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the cluster serves")
	// Output: the cluster serves
}

func ExampleParseDSN() {
	config, err := etcd.ParseDSN("etcd://root:secret@10.0.0.1,10.0.0.2/?timeout=5s")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config.Endpoints, config.Username, config.Timeout)
	// Output: [http://10.0.0.1:2379 http://10.0.0.2:2379] root 5s
}
