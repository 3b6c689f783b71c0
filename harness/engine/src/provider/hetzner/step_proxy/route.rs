//! Which requests of a runbook's `hcloud` may pass, by method, path and body. What is not in these tables is refused: a new endpoint
//! or a new field could name resources of others.

use super::super::client::Kind;
use super::super::labels;
use http::Method;
use serde_json::{Map, Value};

/// What all paths begin with.
const PREFIX: &str = "/v1/";
/// The longest path that is read.
const PATH_BYTES_MAX: usize = 200;
/// How many other resources one request may name.
const REFERENCES_MAX: usize = 25;

/// A request that may pass, if its resources are those of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It reads.
    Read,
    /// It creates a resource.
    Create(Kind, &'static Fields),
    /// It changes or deletes a resource, or starts an action of it.
    Change(Kind, i64, &'static Fields),
}

/// The fields that a request's body may have.
pub(super) type Fields = [(&'static str, Field)];

/// What a field of a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing about another resource.
    Plain,
    /// The labels of the resource.
    Labels,
    /// The id of another resource.
    Id(Kind),
    /// The ids of other resources.
    Ids(Kind),
    /// Firewalls of a new server: `[{"firewall": 1}]`.
    Firewalls,
    /// The addresses of a new server: `{"ipv4": 1, "enable_ipv6": false}`.
    PublicNet,
    /// What a firewall is applied to.
    FirewallTargets,
    /// Subnets, none of them of a vSwitch.
    Subnets,
    /// Only `false` or null: a protected resource could not be deleted with its cluster.
    False,
    /// Only null.
    Null,
    /// Only `"server"`.
    Server,
}

use Field::{False, FirewallTargets, Firewalls, Id, Ids, Labels, Null, Plain, PublicNet, Server, Subnets};

const NONE: &Fields = &[];
/// `PUT`
const UPDATE: &Fields =
    &[("name", Plain), ("labels", Labels), ("auto_delete", Plain), ("expose_routes_to_vswitch", False)];
const PROTECTION: &Fields = &[("delete", False), ("rebuild", False)];

/// `POST /KIND`
const CREATIONS: [(Kind, &Fields); 7] = [
    (
        Kind::Server,
        &[
            ("name", Plain),
            ("server_type", Plain),
            ("image", Plain),
            ("location", Plain),
            ("user_data", Plain),
            ("start_after_create", Plain),
            ("automount", Plain),
            ("labels", Labels),
            ("ssh_keys", Ids(Kind::SshKey)),
            ("volumes", Ids(Kind::Volume)),
            ("networks", Ids(Kind::Network)),
            ("firewalls", Firewalls),
            ("placement_group", Id(Kind::PlacementGroup)),
            ("public_net", PublicNet),
        ],
    ),
    (
        Kind::Volume,
        &[
            ("name", Plain),
            ("size", Plain),
            ("location", Plain),
            ("format", Plain),
            ("automount", Plain),
            ("labels", Labels),
            ("server", Id(Kind::Server)),
        ],
    ),
    (
        Kind::PrimaryIp,
        &[
            ("name", Plain),
            ("type", Plain),
            ("location", Plain),
            ("auto_delete", Plain),
            ("labels", Labels),
            ("assignee_type", Server),
            ("assignee_id", Id(Kind::Server)),
        ],
    ),
    (Kind::Firewall, &[("name", Plain), ("rules", Plain), ("labels", Labels), ("apply_to", FirewallTargets)]),
    (
        Kind::Network,
        &[
            ("name", Plain),
            ("ip_range", Plain),
            ("routes", Plain),
            ("labels", Labels),
            ("subnets", Subnets),
            ("expose_routes_to_vswitch", False),
        ],
    ),
    (Kind::PlacementGroup, &[("name", Plain), ("type", Plain), ("labels", Labels)]),
    (Kind::SshKey, &[("name", Plain), ("public_key", Plain), ("labels", Labels)]),
];

/// `POST /KIND/ID/actions/ACTION`. Actions whose reply holds a password or opens a console are not among them, nor those that replace
/// a server's disk or its type.
const ACTIONS: [(Kind, &str, &Fields); 28] = [
    (Kind::Server, "poweron", NONE),
    (Kind::Server, "poweroff", NONE),
    (Kind::Server, "reboot", NONE),
    (Kind::Server, "reset", NONE),
    (Kind::Server, "shutdown", NONE),
    (
        Kind::Server,
        "attach_to_network",
        &[("network", Id(Kind::Network)), ("ip", Plain), ("alias_ips", Plain), ("ip_range", Plain)],
    ),
    (Kind::Server, "detach_from_network", &[("network", Id(Kind::Network))]),
    (Kind::Server, "change_alias_ips", &[("network", Id(Kind::Network)), ("alias_ips", Plain)]),
    (Kind::Server, "add_to_placement_group", &[("placement_group", Id(Kind::PlacementGroup))]),
    (Kind::Server, "remove_from_placement_group", NONE),
    (Kind::Server, "change_protection", PROTECTION),
    (Kind::Volume, "attach", &[("server", Id(Kind::Server)), ("automount", Plain)]),
    (Kind::Volume, "detach", NONE),
    (Kind::Volume, "resize", &[("size", Plain)]),
    (Kind::Volume, "change_protection", PROTECTION),
    (
        Kind::Network,
        "add_subnet",
        &[("type", Plain), ("ip_range", Plain), ("network_zone", Plain), ("vswitch_id", Null)],
    ),
    (Kind::Network, "delete_subnet", &[("ip_range", Plain)]),
    (Kind::Network, "add_route", &[("destination", Plain), ("gateway", Plain)]),
    (Kind::Network, "delete_route", &[("destination", Plain), ("gateway", Plain)]),
    (Kind::Network, "change_ip_range", &[("ip_range", Plain)]),
    (Kind::Network, "change_protection", PROTECTION),
    (Kind::Firewall, "set_rules", &[("rules", Plain)]),
    (Kind::Firewall, "apply_to_resources", &[("apply_to", FirewallTargets)]),
    (Kind::Firewall, "remove_from_resources", &[("remove_from", FirewallTargets)]),
    (Kind::PrimaryIp, "assign", &[("assignee_id", Id(Kind::Server)), ("assignee_type", Server)]),
    (Kind::PrimaryIp, "unassign", NONE),
    (Kind::PrimaryIp, "change_protection", PROTECTION),
    (Kind::LoadBalancer, "change_protection", PROTECTION),
];

/// Reads method and path.
///
/// # Errors
/// Why the request does not pass. The reason quotes only a path that is made of plain characters.
pub(super) fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, String> {
    let rest = path.strip_prefix(PREFIX).filter(|_| path.len() <= PATH_BYTES_MAX);
    let parts: Vec<&str> = rest.map(|rest| rest.split('/').collect()).unwrap_or_default();
    let is_plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if parts.is_empty() || !parts.iter().all(is_plain) {
        return Err(format!("the path is not one of the API: expected {PREFIX}NAME/... of a-z, 0-9 and _"));
    }
    if method == Method::GET {
        return Ok(Route::Read);
    }
    if query.is_some() {
        return Err(format!("{method} {path} has a query, which no change of the API has"));
    }
    let unknown = || format!("{method} {path} is not among the changes that a runbook may make");
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == parts[0]).ok_or_else(unknown)?;
    let id = parts.get(1).map(|text| id_of(text).ok_or_else(unknown)).transpose()?;
    let fields = match (method.as_str(), id, &parts[1..]) {
        ("POST", None, []) => {
            let fields = CREATIONS.iter().find(|(of, _)| *of == kind).map(|(_, fields)| *fields);
            return fields.map(|fields| Route::Create(kind, fields)).ok_or_else(unknown);
        }
        ("PUT", Some(_), [_]) => Some(UPDATE),
        ("DELETE", Some(_), [_]) => Some(NONE),
        ("POST", Some(_), [_, "actions", action]) => {
            ACTIONS.iter().find(|(of, name, _)| *of == kind && name == action).map(|(_, _, fields)| *fields)
        }
        _ => None,
    };
    let (id, fields) = id.zip(fields).ok_or_else(unknown)?;
    Ok(Route::Change(kind, id, fields))
}

/// An id as the API writes it.
fn id_of(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == text)
}

/// What a body says about other resources and about labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// The resources that it names.
    pub(super) references: Vec<(Kind, i64)>,
    /// The labels that it sets.
    pub(super) labels: Option<labels::Labels>,
}

/// Reads a body. `cluster` is the cluster whose label selector a firewall may be applied to.
///
/// # Errors
/// Why the request does not pass. The reason quotes no value.
pub(super) fn read(body: &Map<String, Value>, fields: &Fields, cluster: &str) -> Result<Named, String> {
    let mut named = Named::default();
    for (key, value) in body {
        let field = fields.iter().find(|(name, _)| name == key).map(|(_, field)| *field);
        let field = field.ok_or_else(|| format!("the request's body has the field {}", shown(key)))?;
        if value.is_null() {
            continue;
        }
        let read = read_field(field, value, cluster, &mut named);
        read.ok_or_else(|| format!("the field `{key}` has a value that a runbook may not set: {}", hint(field)))?;
    }
    if named.references.len() > REFERENCES_MAX {
        return Err(format!("the request names more than {REFERENCES_MAX} other resources"));
    }
    Ok(named)
}

/// A key of a hostile body, for a message.
fn shown(key: &str) -> String {
    let is_plain = key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let name = if is_plain { format!("`{key}`") } else { "with an unusual name".to_owned() };
    format!("{name}, which firedrill does not know")
}

fn hint(field: Field) -> &'static str {
    match field {
        Plain => "any value is allowed",
        Labels => "expected an object of texts",
        Id(_) | Ids(_) | Firewalls | PublicNet => "expected resources by their ids",
        FirewallTargets => "expected servers by their ids, or the label selector of this cluster",
        Subnets | Null => "a vSwitch is not a resource of this cluster",
        False => "expected false, so that the resource can be deleted with its cluster",
        Server => "expected `server`",
    }
}

fn read_field(field: Field, value: &Value, cluster: &str, named: &mut Named) -> Option<()> {
    let references = &mut named.references;
    let mut refer = |kind: Kind, id: &Value| {
        references.push((kind, id.as_i64().filter(|id| *id > 0)?));
        Some(())
    };
    match field {
        Plain => Some(()),
        Labels => {
            named.labels = Some(serde_json::from_value(value.clone()).ok()?);
            Some(())
        }
        Id(kind) => refer(kind, value),
        Ids(kind) => value.as_array()?.iter().try_for_each(|id| refer(kind, id)),
        Firewalls => value.as_array()?.iter().try_for_each(|entry| {
            let entry = only(entry, &["firewall"])?;
            refer(Kind::Firewall, entry.get("firewall")?)
        }),
        PublicNet => {
            let net = only(value, &["enable_ipv4", "enable_ipv6", "ipv4", "ipv6"])?;
            let addresses = ["ipv4", "ipv6"].into_iter().filter_map(|name| net.get(name));
            addresses.filter(|id| !id.is_null()).try_for_each(|id| refer(Kind::PrimaryIp, id))
        }
        FirewallTargets => value.as_array()?.iter().try_for_each(|entry| {
            let entry = only(entry, &["type", "server", "label_selector"])?;
            let part = |name: &str| entry.get(name).filter(|part| !part.is_null());
            match (entry.get("type")?.as_str()?, part("server"), part("label_selector")) {
                ("server", Some(server), None) => refer(Kind::Server, only(server, &["id"])?.get("id")?),
                ("label_selector", None, Some(selector)) => {
                    let selector = only(selector, &["selector"])?.get("selector")?.as_str()?;
                    (selector == labels::selector_of(cluster)).then_some(())
                }
                _ => None,
            }
        }),
        Subnets => value.as_array()?.iter().try_for_each(|subnet| {
            let subnet = only(subnet, &["type", "ip_range", "network_zone", "vswitch_id"])?;
            subnet.get("vswitch_id").is_none_or(Value::is_null).then_some(())
        }),
        False => (value == &Value::Bool(false)).then_some(()),
        Null => None,
        Server => (value == "server").then_some(()),
    }
}

/// An object that has no other keys than these.
fn only<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Map<String, Value>> {
    value.as_object().filter(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(method: &str, path: &str) -> Result<Route, String> {
        route(&method.parse().unwrap(), path, None)
    }

    #[test]
    fn paths_that_are_written_in_another_way_are_refused() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1//servers",
            "/v1/servers/",
            "/v1/servers/../volumes/1",
            "/v1/./servers",
            "/v1/servers/1%2f..%2f2",
            "/v1/servers%2f1",
            "/v1/Servers/1",
            "/v1/servers/1;a=b",
            "/v1/servers/1\\..\\2",
            "/v2/servers/1",
            "servers/1",
            "//v1/servers",
            "/v1/servers/ü",
            &format!("/v1/{}", "a".repeat(200)),
        ] {
            for method in ["GET", "POST", "PUT", "DELETE"] {
                let why = of(method, path).unwrap_err();
                assert!(why.starts_with("the path is not one of the API"), "{method} {path}: {why}");
            }
        }
    }

    #[test]
    fn changes_that_are_not_in_the_table_are_refused() {
        for (method, path) in [
            ("POST", "/v1/floating_ips"),
            ("DELETE", "/v1/images/1"),
            ("POST", "/v1/load_balancers"),
            ("POST", "/v1/servers/1"),
            ("PUT", "/v1/servers"),
            ("DELETE", "/v1/servers"),
            ("DELETE", "/v1/servers/0"),
            ("DELETE", "/v1/servers/01"),
            ("DELETE", "/v1/servers/99999999999999999999"),
            ("DELETE", "/v1/servers/1/actions"),
            ("POST", "/v1/servers/1/actions"),
            ("POST", "/v1/servers/1/actions/poweroff/x"),
            ("POST", "/v1/servers/1/actions/reset_password"),
            ("POST", "/v1/servers/1/actions/enable_rescue"),
            ("POST", "/v1/servers/1/actions/rebuild"),
            ("POST", "/v1/servers/1/actions/change_type"),
            ("POST", "/v1/volumes/1/actions/poweroff"),
            ("PATCH", "/v1/servers/1"),
            ("OPTIONS", "/v1/servers/1"),
        ] {
            let why = of(method, path).unwrap_err();
            assert_eq!(why, format!("{method} {path} is not among the changes that a runbook may make"));
        }
        assert!(route(&Method::DELETE, "/v1/servers/1", Some("force=true")).unwrap_err().contains("has a query"));
        assert_eq!(of("GET", "/v1/floating_ips").unwrap(), Route::Read);
    }

    #[test]
    fn changes_of_the_table_name_their_resource() {
        assert_eq!(of("DELETE", "/v1/servers/42").unwrap(), Route::Change(Kind::Server, 42, NONE));
        assert_eq!(of("POST", "/v1/volumes/7/actions/detach").unwrap(), Route::Change(Kind::Volume, 7, NONE));
        assert_eq!(of("PUT", "/v1/load_balancers/7").unwrap(), Route::Change(Kind::LoadBalancer, 7, UPDATE));
        assert!(matches!(of("POST", "/v1/servers").unwrap(), Route::Create(Kind::Server, _)));
    }

    fn named(path: &str, body: Value) -> Result<Named, String> {
        let fields = match of("POST", path).unwrap() {
            Route::Create(_, fields) | Route::Change(_, _, fields) => fields,
            Route::Read => unreachable!("POST reads nothing"),
        };
        read(body.as_object().unwrap(), fields, "firedrill-a3f")
    }

    #[test]
    fn every_resource_in_a_body_is_found() {
        let body = json!({
            "name": "n", "server_type": "cx23", "image": 1, "labels": {"a": "b"}, "ssh_keys": [1], "volumes": [2, 3],
            "networks": [4], "firewalls": [{"firewall": 5}], "placement_group": 6,
            "public_net": {"enable_ipv4": true, "ipv4": 7, "ipv6": null},
        });
        let found = named("/v1/servers", body).unwrap();
        let mut ids: Vec<_> = found.references.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(found.labels.unwrap()["a"], "b");
        let attach = named("/v1/volumes/1/actions/attach", json!({"server": 9, "automount": false})).unwrap();
        assert_eq!(attach.references, [(Kind::Server, 9)]);
        let apply = |target: Value| named("/v1/firewalls/1/actions/apply_to_resources", json!({"apply_to": [target]}));
        let server = apply(json!({"type": "server", "server": {"id": 8}})).unwrap();
        assert_eq!(server.references, [(Kind::Server, 8)]);
        let own =
            json!({"type": "label_selector", "label_selector": {"selector": "firedrill.dev/cluster=firedrill-a3f"}});
        assert_eq!(apply(own), Ok(Named::default()));
    }

    #[test]
    fn a_body_that_could_name_anything_else_is_refused() {
        let apply = |target: Value| json!({"apply_to": [target]});
        let firewall = "/v1/firewalls/1/actions/apply_to_resources";
        for (path, body) in [
            ("/v1/volumes/1/actions/attach", json!({"server": "9"})),
            ("/v1/volumes/1/actions/attach", json!({"server": {"id": 9}})),
            ("/v1/volumes/1/actions/attach", json!({"server": -9})),
            ("/v1/volumes/1/actions/detach", json!({"server": 9})),
            ("/v1/servers", json!({"ssh_keys": ["a-name"]})),
            ("/v1/servers", json!({"firewalls": [{"firewall": 1, "more": 2}]})),
            ("/v1/servers", json!({"public_net": {"ipv4": 1, "floating": 2}})),
            ("/v1/servers", json!({"isos": [1]})),
            ("/v1/servers", json!({"\u{1b}[2J": 1})),
            ("/v1/servers", json!({"volumes": (1..=26).collect::<Vec<i64>>()})),
            ("/v1/servers/1/actions/change_protection", json!({"delete": true})),
            ("/v1/networks/1/actions/add_subnet", json!({"vswitch_id": 4})),
            ("/v1/networks", json!({"subnets": [{"vswitch_id": 4}]})),
            ("/v1/primary_ips/1/actions/assign", json!({"assignee_id": 1, "assignee_type": "load_balancer"})),
            (firewall, apply(json!({"type": "label_selector", "label_selector": {"selector": "env"}}))),
            (firewall, apply(json!({"type": "label_selector", "label_selector": {"selector": ""}}))),
            (firewall, apply(json!({"type": "server", "server": {"id": 1}, "label_selector": {"selector": "x"}}))),
            (firewall, apply(json!({"server": {"id": 1}}))),
        ] {
            let why = named(path, body.clone()).unwrap_err();
            assert!(!why.contains('\u{1b}'), "{why}");
        }
        let protect = named("/v1/volumes/1/actions/change_protection", json!({"delete": false}));
        assert_eq!(protect, Ok(Named::default()));
    }
}
