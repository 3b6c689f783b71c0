//! What a drill needs of the cluster's provider. A plan is refused where the provider lacks it: nothing is broken by then.

use crate::cluster::Cluster;
use crate::fault;
use crate::port::Refusal;
use crate::provider::{Capability, Unavailable};
use firedrill_core::plan::Target;
use firedrill_core::scenario::{Fault, ProviderStep};

/// Refuses a drill that needs more than the provider can do. `steps` are those of its runbook that the provider does.
///
/// # Errors
/// Names the missing capability, and the part of the drill that needs it.
pub(super) fn check(
    cluster: &Cluster,
    drill: &str,
    faults: &[Fault],
    steps: &[(u32, ProviderStep)],
) -> Result<(), Refusal> {
    let capabilities = cluster.machines.capabilities();
    for (capability, because) in needed(faults, steps) {
        let Err(Unavailable { capability, why }) = capabilities.check(capability) else { continue };
        return Err(Refusal {
            message: format!(
                "{drill} needs {capability} for {because}, which provider {} lacks on cluster {}: {why}",
                cluster.provider, cluster.name
            ),
            hint: "use a cluster that `firedrill up` made, or a variant that does not need it".to_owned(),
        });
    }
    Ok(())
}

/// What the drill's faults and its runbook's corrections need, each with what needs it.
fn needed(faults: &[Fault], steps: &[(u32, ProviderStep)]) -> Vec<(Capability, String)> {
    let of_faults = faults.iter().flat_map(fault::needs).copied().map(of_whom("its fault"));
    let of_steps = steps.iter().map(|(number, step)| {
        let capability = match step {
            ProviderStep::ReplaceNode => Capability::NewNode,
            ProviderStep::DetachVolume => Capability::VolumeFault,
        };
        (capability, format!("the correction of step {number} of its runbook"))
    });
    of_faults.chain(of_steps).collect()
}

fn of_whom(because: &str) -> impl Fn(Capability) -> (Capability, String) {
    move |capability| (capability, because.to_owned())
}

/// Refuses a fault of volumes whose targets the driver of such faults did not make.
///
/// # Errors
/// Names the volume and the driver.
pub(super) async fn check_volumes(cluster: &Cluster, fault: &Fault, targets: &[Target]) -> Result<(), Refusal> {
    let unseen = |message: String| Refusal { message, hint: "see what firedrill doctor says".to_owned() };
    if !fault::needs(fault).contains(&Capability::VolumeFault) {
        return Ok(());
    }
    let volumes = cluster.machines.volumes();
    let volumes = volumes.ok_or_else(|| unseen("this cluster's volumes have no driver for faults".to_owned()))?;
    for target in targets {
        let Some(volume) = target.volume() else { continue };
        let handle = volumes.handle(cluster, volume).await.map_err(|error| unseen(error.to_string()))?;
        if handle.is_none() {
            return Err(Refusal {
                message: format!("{target} was not made by {}: no other driver has this fault", volumes.driver()),
                hint: "make a cluster with that driver: firedrill up --volumes-image IMAGE (ci/setup builds it)"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use crate::provider::Support;
    use crate::provider::fake::{FakeMachines, FakeVolumes};
    use crate::run::{Drill, RunError, fake::stack, plan};
    use crate::world::ports;
    use firedrill_core::scenario::{Scenario, parse};
    use std::path::Path;
    use std::sync::Arc;

    fn drill(scenario: &str, variant: &str) -> Drill {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(scenario);
        let read = |file: &str| std::fs::read_to_string(folder.join(file));
        let parsed = parse(scenario, ("scenario.toml", &read("scenario.toml").unwrap()), read, &stack());
        let scenario: Scenario = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:?}")).for_variant(variant);
        let stack = Arc::new(stack());
        Drill { scenario, stack, variant: variant.to_owned(), seed: Some(1), noop: false, agent_image: String::new() }
    }

    /// Why the drill is refused on a cluster; empty where it is refused for nothing that this test knows.
    async fn refusal(drill: &Drill, cluster: &Cluster) -> String {
        let Err(RunError::Environment { message, .. }) =
            plan(drill, &ports(cluster, Some(&drill.stack), None, "")).await
        else {
            return String::new();
        };
        if message.contains(" needs ") { message } else { String::new() }
    }

    async fn cluster(api: &FakeApi, folder: &Path) -> Cluster {
        Cluster::connect("c", &api.kubeconfig(folder), "x").await.unwrap()
    }

    #[tokio::test]
    async fn a_plan_that_needs_power_is_refused_where_there_is_none() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = cluster(&api, folder.path()).await;
        let message = refusal(&drill("node-failure", "documented"), &cluster).await;
        let expected = "node-failure/documented needs node power for its fault, which provider existing lacks on cluster c: firedrill \
                        did not make this cluster's nodes";
        assert_eq!(message, expected);
        assert!(api.writes().is_empty());
        // Without the fault nothing needs it.
        let message = refusal(&Drill { noop: true, ..drill("node-failure", "documented") }, &cluster).await;
        assert!(!message.contains("needs"), "{message}");
    }

    #[tokio::test]
    async fn each_capability_is_asked_for_by_what_needs_it() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = cluster(&api, folder.path()).await;
        let no = || Support::No { why: "so".to_owned() };
        let mut machines = FakeMachines::with_ports(8);
        let check = async |machines: FakeMachines, variant: &str| {
            let cluster = cluster.clone().provided_by("fake", Arc::new(machines));
            refusal(&drill("node-failure", variant), &cluster).await
        };
        assert_eq!(check(FakeMachines::with_ports(0), "documented").await, "");
        machines.capabilities.new_node = no();
        let message = check(machines, "documented").await;
        assert!(message.contains("adding nodes for the correction of step"), "{message}");
        let mut machines = FakeMachines::with_ports(8);
        machines.capabilities.new_node = no();
        let message = check(machines, "without-volumes").await;
        assert!(message.contains("adding nodes for its fault"), "{message}");
        let mut machines = FakeMachines::with_ports(8);
        machines.capabilities.volume_fault = no();
        let message = check(machines, "slow-attach").await;
        assert!(message.contains("faults of volumes for its fault"), "{message}");
    }

    #[tokio::test]
    async fn a_volume_of_another_driver_is_refused() {
        let (api, folder) = (FakeApi::start().await, tempfile::tempdir().unwrap());
        let cluster = cluster(&api, folder.path()).await;
        let of = str::to_owned;
        let target = |volume: &str| Target::Volume {
            namespace: of("n"),
            pod: of("p"),
            uid: of("u"),
            claim: of("data-p"),
            volume: of(volume),
            node: of("w"),
        };
        let volumes = Some(FakeVolumes(vec![of("ours")]));
        let cluster = cluster.provided_by("fake", Arc::new(FakeMachines { volumes, ..FakeMachines::with_ports(0) }));
        let drill = drill("node-failure", "slow-attach");
        let faults: Vec<Fault> = drill.scenario.variants[&drill.variant].faults().cloned().collect();
        let fault = &faults[0];
        assert!(check_volumes(&cluster, fault, &[target("ours")]).await.is_ok());
        let refused = check_volumes(&cluster, fault, &[target("ours"), target("theirs")]).await;
        let message = refused.unwrap_err().message;
        assert!(message.contains("was not made by fake.driver"), "{message}");
        let other = &faults[1];
        assert!(check_volumes(&cluster, other, &[target("theirs")]).await.is_ok(), "its driver is not asked");
    }
}
