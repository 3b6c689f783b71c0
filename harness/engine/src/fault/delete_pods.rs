//! A pod deleted at once, without grace: the object is gone before its processes have ended.

use super::choose::Choice;
use super::kind::{FaultKind, Site};
use super::{FaultError, Injected, Proof};
use crate::cluster::{ClusterError, exactly};
use async_trait::async_trait;
use firedrill_core::event::Undo;
use firedrill_core::plan::Target;
use firedrill_core::scenario::DeletePodsFault;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

const LOOK_EVERY: Duration = Duration::from_millis(50);

#[async_trait]
impl FaultKind for DeletePodsFault {
    async fn targets(&self, choice: &Choice<'_>) -> Result<Vec<Target>, FaultError> {
        choice.pods(&self.pods, Some(self.count)).await
    }

    fn preview(&self, target: &Target) -> String {
        let namespace = &self.pods.namespace;
        format!("delete {target} with no grace (delete pods in {namespace}); its controller recreates it")
    }

    fn undo_of(&self, target: &Target) -> Result<Option<Undo>, FaultError> {
        pod_of(target)?;
        Ok(Some(Undo::HealsItself { what: format!("{target}: its controller recreates it") }))
    }

    /// Deletes exactly the pod that was chosen: one that took its name since is left alone.
    async fn inject(&self, site: &mut Site<'_>) -> Result<Injected, FaultError> {
        let (namespace, name, uid) = pod_of(site.target)?;
        let pods: Api<Pod> = Api::namespaced(site.tools.cluster.client(), namespace);
        let params = DeleteParams { grace_period_seconds: Some(0), ..exactly(Some(uid.to_owned())) };
        pods.delete(name, &params).await.map_err(ClusterError::api("delete a pod"))?;
        Ok(Injected::of(site.target))
    }

    /// The pod of that UID is gone from the API server.
    async fn prove(&self, site: &mut Site<'_>, _: &Injected, deadline: Instant) -> Result<Vec<Proof>, FaultError> {
        let (tools, target) = (site.tools, site.target);
        let (namespace, name, uid) = pod_of(target)?;
        let pods: Api<Pod> = Api::namespaced(tools.cluster.client(), namespace);
        let gone = async {
            let mut tick = interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                match pods.get_opt(name).await.map_err(ClusterError::api("read a pod"))? {
                    None => return Ok::<_, FaultError>("no pod has its name".to_owned()),
                    Some(pod) if pod.metadata.uid.as_deref() != Some(uid) => {
                        return Ok(format!("another pod has its name, uid {}", pod.metadata.uid.unwrap_or_default()));
                    }
                    Some(_) => {}
                }
            }
        };
        let (held, evidence) = match timeout_at(deadline, gone).await {
            Ok(evidence) => (true, evidence?),
            Err(_) => (false, "the pod is still there".to_owned()),
        };
        Ok(vec![Proof { subject: format!("pod {name}, uid {uid}"), evidence, held, at: tools.clock.now() }])
    }
}

fn pod_of(target: &Target) -> Result<(&str, &str, &str), FaultError> {
    match target {
        Target::Pod { namespace, pod, uid, .. } => Ok((namespace, pod, uid)),
        _ => Err(FaultError::Mismatch(format!("{target} is not a pod"))),
    }
}
