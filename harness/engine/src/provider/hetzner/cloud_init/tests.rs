//! Tests of the user data, field by field.

use super::*;

const NOW: i64 = 1_796_083_200;

fn spec() -> ClusterSpec {
    ClusterSpec {
        name: "firedrill-a3f".to_owned(),
        kubernetes: "1.34.4".to_owned(),
        packages: Packages {
            debian_mirror: Some("https://debian.example/debian".to_owned()),
            kubernetes: Some("https://packages.example/v1.34/deb/".to_owned()),
            kubernetes_key: Some("-----BEGIN PGP PUBLIC KEY BLOCK-----\n".to_owned()),
        },
        pod_subnet: "10.244.0.0/16".to_owned(),
        service_subnet: "10.96.0.0/16".to_owned(),
        pause_image: "images.example/pause:3.10.1".to_owned(),
        image_mirror: None,
        cloud_controller: false,
        api_server_names: vec!["api.example".to_owned()],
    }
}

fn secrets() -> ClusterSecrets {
    ClusterSecrets::generate(NOW).unwrap()
}

fn config(spec: &ClusterSpec, secrets: &ClusterSecrets, role: Role<'_>) -> Value {
    let user_data = user_data(spec, secrets, "firedrill-a3f-node", role).unwrap();
    let text = user_data.reveal().strip_prefix("#cloud-config\n").expect("cloud-init knows it by its first line");
    serde_json::from_str(text).unwrap()
}

fn content<'a>(config: &'a Value, path: &str) -> Option<&'a str> {
    let files = config["write_files"].as_array().unwrap();
    files.iter().find(|file| file["path"] == path)?["content"].as_str()
}

fn kubeadm_of(config: &Value) -> Vec<Value> {
    let text = content(config, "/etc/firedrill/kubeadm.yaml").unwrap();
    text.split("---\n").map(|document| serde_json::from_str(document).unwrap()).collect()
}

#[test]
fn the_first_control_plane_begins_the_cluster() {
    let secrets = secrets();
    let config = config(&spec(), &secrets, Role::First);
    assert_eq!(
        config["runcmd"],
        json!([["/usr/local/sbin/firedrill-node", "init", "1.34.4", "https://packages.example/v1.34/deb/"]])
    );
    let [init, cluster, kubelet, proxy] = kubeadm_of(&config).try_into().unwrap();
    assert_eq!(init["bootstrapTokens"][0]["token"], secrets.bootstrap_token().reveal());
    assert_eq!(init["bootstrapTokens"][0]["ttl"], "1h0m0s");
    assert_eq!(init["nodeRegistration"]["name"], "firedrill-a3f-node");
    let expected = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "clusterName": "firedrill-a3f",
        "kubernetesVersion": "v1.34.4", "controlPlaneEndpoint": "@PUBLIC_IPV4@:6443",
        "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16"},
        "apiServer": {"certSANs": ["api.example", "@PUBLIC_IPV4@"]}, "controllerManager": {"extraArgs": []},
    });
    assert_eq!(cluster, expected);
    assert_eq!(kubelet["cgroupDriver"], "systemd");
    assert_eq!(proxy["conntrack"], json!({"maxPerCore": 0}));
}

#[test]
fn all_others_join_at_once_knowing_the_api_server() {
    let secrets = secrets();
    let worker = config(&spec(), &secrets, Role::Worker { api_server: "192.0.2.7" });
    assert_eq!(worker["runcmd"][0][1], "join");
    let [join] = kubeadm_of(&worker).try_into().unwrap();
    let discovery = json!({"bootstrapToken": {
        "apiServerEndpoint": "192.0.2.7:6443", "token": secrets.bootstrap_token().reveal(),
        "caCertHashes": [secrets.authority_hash()],
    }});
    assert_eq!((&join["discovery"], &join["controlPlane"]), (&discovery, &Value::Null));
    assert_eq!(join["timeouts"]["discovery"], "15m0s");
    let control_plane = config(&spec(), &secrets, Role::ControlPlane { api_server: "192.0.2.7" });
    let [join] = kubeadm_of(&control_plane).try_into().unwrap();
    assert_eq!(join["controlPlane"], json!({"localAPIEndpoint": {"bindPort": 6443}}));
}

#[test]
fn only_control_planes_get_the_authorities_and_only_root_reads_the_keys() {
    let secrets = secrets();
    let worker = config(&spec(), &secrets, Role::Worker { api_server: "192.0.2.7" });
    assert!(!worker.to_string().contains("PRIVATE KEY"));
    assert!(content(&worker, "/etc/firedrill/pki/ca.crt").is_none());
    for role in [Role::First, Role::ControlPlane { api_server: "192.0.2.7" }] {
        let config = config(&spec(), &secrets, role);
        for name in ["ca", "etcd/ca", "front-proxy-ca"] {
            let certificate = content(&config, &format!("/etc/firedrill/pki/{name}.crt")).unwrap();
            assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{name}");
        }
        assert!(content(&config, "/etc/firedrill/pki/sa.pub").unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
        let files = config["write_files"].as_array().unwrap();
        let is_secret = |file: &&Value| {
            let text = file["content"].as_str().unwrap();
            text.contains("PRIVATE KEY-----") || text.contains(secrets.bootstrap_token().reveal())
        };
        let secret: Vec<_> = files.iter().filter(is_secret).collect();
        assert_eq!(secret.len(), 5, "four keys and the token");
        assert!(secret.iter().all(|file| file["permissions"] == "0600"), "{secret:?}");
    }
}

#[test]
fn a_node_keeps_pods_from_the_metadata_before_its_kubelet_starts() {
    let config = config(&spec(), &secrets(), Role::Worker { api_server: "192.0.2.7" });
    let rules = content(&config, "/etc/firedrill/metadata.nft").unwrap();
    assert_eq!(rules.matches("ip daddr 169.254.169.254 drop").count(), 2);
    assert!(rules.contains("hook forward") && rules.contains("iifname != \"lo\""));
    let unit = content(&config, "/etc/systemd/system/firedrill-metadata.service").unwrap();
    assert!(unit.contains("Before=kubelet.service") && unit.contains("RequiredBy=kubelet.service"));
    let at = |text: &str| SCRIPT.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("enable --now firedrill-metadata.service") < at("kubeadm \"$how\""));
}

#[test]
fn what_kubernetes_asks_of_a_system_is_there() {
    let config = config(&spec(), &secrets(), Role::First);
    assert!(content(&config, "/etc/containerd/config.toml").unwrap().contains("SystemdCgroup = true"));
    assert!(content(&config, "/etc/sysctl.d/90-kubernetes.conf").unwrap().contains("net.ipv4.ip_forward = 1"));
    assert_eq!(content(&config, "/etc/modules-load.d/kubernetes.conf"), Some("overlay\nbr_netfilter\n"));
    let swap = SCRIPT.lines().filter(|line| line.contains("swapoff") && !line.starts_with('#'));
    assert_eq!(swap.count(), 1);
    assert!(
        !SCRIPT.lines().any(|line| line.trim_start().starts_with("swapoff -a")),
        "it would be about the host of a container"
    );
}

#[test]
fn packages_come_from_where_the_caller_says() {
    let with_apt = config(&spec(), &secrets(), Role::First);
    assert_eq!(with_apt["apt"]["primary"][0]["uri"], "https://debian.example/debian");
    let source = content(&with_apt, "/etc/apt/sources.list.d/kubernetes.list").unwrap();
    assert_eq!(source, "deb [signed-by=/etc/apt/keyrings/kubernetes.asc] https://packages.example/v1.34/deb/ /\n");
    assert!(content(&with_apt, "/etc/apt/keyrings/kubernetes.asc").unwrap().starts_with("-----BEGIN PGP"));
    let mirror = Some("http://192.0.2.1:5000".to_owned());
    let image = ClusterSpec { packages: Packages::default(), image_mirror: mirror, ..spec() };
    let without = config(&image, &secrets(), Role::First);
    assert_eq!(without["runcmd"][0][3], "https://pkgs.k8s.io/core:/stable:/v1.34/deb/");
    assert!(without.get("apt").is_none() && content(&without, "/etc/apt/keyrings/kubernetes.asc").is_none());
    let hosts = content(&without, "/etc/containerd/certs.d/_default/hosts.toml").unwrap();
    assert_eq!(hosts, "[host.\"http://192.0.2.1:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
}

#[test]
fn a_cloud_controller_is_waited_for_only_where_one_will_run() {
    let args = |spec: &ClusterSpec| {
        let config = config(spec, &secrets(), Role::First);
        let documents = kubeadm_of(&config);
        (documents[0]["nodeRegistration"]["kubeletExtraArgs"].clone(), documents[1]["controllerManager"].clone())
    };
    let id = json!({"name": "provider-id", "value": "hcloud://@INSTANCE_ID@"});
    let external = json!({"name": "cloud-provider", "value": "external"});
    assert_eq!(args(&spec()), (json!([id]), json!({"extraArgs": []})));
    let with_one = ClusterSpec { cloud_controller: true, ..spec() };
    assert_eq!(args(&with_one), (json!([id, external]), json!({"extraArgs": [external]})));
}

#[test]
fn what_could_break_a_file_is_refused() {
    let error = |spec: ClusterSpec| user_data(&spec, &secrets(), "n", Role::First).unwrap_err().to_string();
    for version in ["", "1.34", "v1.34.4", "1.34.4; reboot", "1..4"] {
        let text = error(ClusterSpec { kubernetes: version.to_owned(), ..spec() });
        assert!(text.contains("is not three numbers such as 1.34.4"), "{text}");
    }
    for bad in ["x", "ftp://x", "http://a b", "http://x\nevil", "http://x\"]"] {
        let text = error(ClusterSpec { image_mirror: Some(bad.to_owned()), ..spec() });
        assert!(text.contains("is not a web address"), "{text}");
    }
    let http = Packages { kubernetes: Some("http://x/deb/".to_owned()), ..Packages::default() };
    let text = error(ClusterSpec { packages: http.clone(), ..spec() });
    assert!(text.contains("is not an https address"), "{text}");
    let with_key = Packages { kubernetes_key: Some("key".to_owned()), ..http };
    assert!(user_data(&ClusterSpec { packages: with_key, ..spec() }, &secrets(), "n", Role::First).is_ok());
    assert!(error(ClusterSpec { pause_image: "a\"b".to_owned(), ..spec() }).contains("is not the name of an image"));
}

#[test]
fn it_fits_and_nothing_shows_it() {
    let secrets = secrets();
    let first = user_data(&spec(), &secrets, "firedrill-a3f-control-plane-1", Role::First).unwrap();
    assert!(first.reveal().len() < 16 * 1024, "{} bytes: no room for an operator's key", first.reveal().len());
    let shown = format!("{first:?}");
    assert!(shown.starts_with("UserData(") && !shown.contains("KEY"), "{shown}");
    let packages = Packages { kubernetes_key: Some("x".repeat(32 * 1024)), ..spec().packages };
    let error = user_data(&ClusterSpec { packages, ..spec() }, &secrets, "n", Role::First).unwrap_err();
    assert!(matches!(error, CloudInitError::TooLong { bytes, .. } if bytes > 32 * 1024), "{error}");
}
