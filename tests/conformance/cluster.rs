//! One set of committers at a time, whoever was there before.

use tidings::log::LogError;
use tidings::log::cluster::{Cluster, ClusterError, Committers, Instance, Joined};

use crate::harness::*;

fn instance(id: &str) -> Instance {
    Instance { id: id.into(), host: "host".into() }
}

fn committers(enrich: u32) -> Committers {
    [("enrich".to_string(), enrich), ("analyse".to_string(), 1)].into()
}

fn timeout_ms(deployment: &Deployment) -> i64 {
    deployment.settings.heartbeat_timeout_s as i64 * 1000
}

pub fn a_second_set_is_refused_while_the_first_lives(deployment: &Deployment) {
    let log = deployment.start();
    let join = |id, enrich, takeover, now| {
        Cluster::join(&log, &deployment.settings, instance(id), &committers(enrich), takeover, now)
    };
    let Joined { mut cluster, .. } = join("a", 1, false, 1_000).expect("the first");
    cluster.heartbeat(5_000).expect("alive");
    let refused = join("b", 1, false, 6_000).map(drop);
    assert!(
        matches!(&refused, Err(ClusterError::Live { instance, age_s: 1, .. }) if instance == "a"),
        "{refused:?}"
    );
    // Refusing did not disturb the first.
    cluster.heartbeat(7_000).expect("still alive");

    // The same folder may start again at once, a stranger once the first is silent.
    join("a", 1, false, 7_001).expect("the same instance");
    assert!(join("b", 1, false, 7_000 + timeout_ms(deployment) - 1).is_err());
    join("b", 1, false, 7_001 + timeout_ms(deployment)).expect("the other is dead");
    // It was taken over twice by now.
    assert!(matches!(cluster.heartbeat(8_000), Err(LogError::Fenced(_))));
}

pub fn a_takeover_fences_everything_of_the_set_before(deployment: &Deployment) {
    let log = deployment.start();
    let join = |id, enrich, takeover, now| {
        Cluster::join(&log, &deployment.settings, instance(id), &committers(enrich), takeover, now)
            .expect("joined")
    };
    let mut old = join("a", 3, false, 1_000);
    assert_eq!(old.committers["enrich"].len(), 3);
    // A smaller set: the ids that it does not use are fenced nevertheless.
    let mut new = join("b", 1, true, 2_000);
    assert_eq!(new.committers["enrich"].len(), 1);
    for committer in old.committers.values_mut().flatten() {
        let late =
            committer.commit(&transaction("g", vec![record(PLAIN, "a", "late")], &[(at(PLAIN, 0), 1)]));
        assert!(matches!(late, Err(LogError::Fenced(_))), "{late:?}");
    }
    assert!(matches!(old.cluster.heartbeat(3_000), Err(LogError::Fenced(_))));
    for committer in new.committers.values_mut().flatten() {
        committer.commit(&transaction("g", vec![record(PLAIN, "a", "new")], &[])).expect("committed");
    }
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 2)), ["new", "new"]);
    // And again for the next set, however small the last one was.
    let mut last = join("c", 2, true, 4_000);
    assert!(matches!(new.cluster.heartbeat(5_000), Err(LogError::Fenced(_))));
    last.cluster.heartbeat(6_000).expect("alive");
}

pub fn a_set_that_left_makes_room_at_once(deployment: &Deployment) {
    let log = deployment.start();
    let join = |id, now| Cluster::join(&log, &deployment.settings, instance(id), &committers(1), false, now);
    join("a", 1_000).expect("the first").cluster.leave(2_000).expect("left");
    join("b", 2_001).expect("the second");
}

#[test]
fn a_folder_keeps_its_instance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data");
    let first = Instance::of_folder(&path).expect("made");
    assert_eq!(Instance::of_folder(&path).expect("read").id, first.id);
    let other = tempfile::tempdir().expect("a temporary folder");
    assert_ne!(Instance::of_folder(other.path()).expect("made").id, first.id);
}
