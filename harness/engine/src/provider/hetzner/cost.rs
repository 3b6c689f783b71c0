//! The cost of a cluster so far and per hour, from the creation times and prices of everything that Hetzner bills.

use super::client::{ApiError, Client, PrimaryIp, Server, Volume};
use super::labels::Claim;
use super::price::{Amount, Item, PriceError, Prices};
use super::remove::Scope;
use std::fmt;

/// The cost of existing resources. Deleted ones are missing, because the API no longer lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    /// The cost per hour, whether servers are on or off.
    pub(crate) per_hour: Amount,
    /// The upper bound of the cost so far.
    pub(crate) so_far: Amount,
    /// The currency: `EUR`.
    pub(crate) currency: String,
    /// The number of servers, volumes and IPv4 addresses.
    pub(crate) items: usize,
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_hour, so_far, currency, items } = self;
        write!(f, "{items} billed resources: at most {so_far} {currency} so far, {per_hour} {currency} per hour")
    }
}

/// Calculates the cost of all resources in a scope.
///
/// # Errors
/// If the API fails or its price list lacks a price.
pub(crate) async fn bill(client: &Client, scope: &Scope, now_unix_s: i64) -> Result<Bill, PriceError> {
    let prices = Prices::fetch(client).await?;
    let mut bill =
        Bill { per_hour: Amount::default(), so_far: Amount::default(), currency: prices.currency.clone(), items: 0 };
    for (item, created) in billed(client, scope).await? {
        let lasted_s = u64::try_from(now_unix_s.saturating_sub(unix_seconds(&created)?)).unwrap_or(0);
        bill.per_hour = bill.per_hour + prices.per_hour(&item)?;
        bill.so_far = bill.so_far + prices.cost(&item, lasted_s)?;
        bill.items += 1;
    }
    Ok(bill)
}

/// Billed resources with their creation times. An IPv4 address without our label is counted with its server.
async fn billed(client: &Client, scope: &Scope) -> Result<Vec<(Item, String)>, ApiError> {
    let selector = scope.selector();
    let is_ours = |labels: &super::labels::Labels| scope.covers(&Claim::of(labels));
    let mut items = Vec::new();
    let mut counted = Vec::new();
    for Server { server_type, location, created, public_net, .. } in
        client.servers(&selector).await?.into_iter().filter(|server| is_ours(&server.labels))
    {
        let location = location.name;
        if let Some(address) = public_net.ipv4 {
            counted.extend(address.id);
            items.push((Item::Ipv4 { location: location.clone() }, created.clone()));
        }
        items.push((Item::Server { server_type: server_type.name, location }, created));
    }
    for Volume { size, created, .. } in
        client.volumes(&selector).await?.into_iter().filter(|volume| is_ours(&volume.labels))
    {
        items.push((Item::Volume { size_gb: size }, created));
    }
    let addresses: Vec<PrimaryIp> =
        client.list("/primary_ips", "primary_ips", &[("label_selector", selector.as_str())]).await?;
    let addresses = addresses.into_iter().filter(|address| is_ours(&address.labels) && address.family == "ipv4");
    for PrimaryIp { location, created, .. } in addresses.filter(|address| !counted.contains(&address.id)) {
        items.push((Item::Ipv4 { location: location.name }, created));
    }
    Ok(items)
}

fn unix_seconds(created: &str) -> Result<i64, PriceError> {
    let time: Result<jiff::Timestamp, _> = created.parse();
    time.map(|time| time.as_second()).map_err(|_| PriceError::Time(created.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::client::{Double, client_of};
    use super::super::labels::{Labels, Mark};
    use super::*;
    use serde_json::json;
    use wiremock::ResponseTemplate;

    #[tokio::test]
    async fn everything_that_is_billed_is_counted_once() {
        let double = Double::default();
        let server = double.start().await;
        let price = |gross: &str| json!({"net": "0", "gross": gross});
        let at = |gross: &str| json!([{"location": "fsn1", "price_hourly": price(gross)}]);
        let pricing = json!({"pricing": {"currency": "EUR", "server_types": [{"name": "cx23", "prices": at("0.01")}],
            "primary_ips": [{"type": "ipv4", "prices": at("0.001")}], "volume": {"price_per_gb_month": price("0.672")}}});
        double.fail("GET /pricing", 2, ResponseTemplate::new(200).set_body_json(pricing));
        let mark = Mark {
            cluster: "firedrill-a3f".to_owned(),
            run: "run-1".to_owned(),
            owner: "ann".to_owned(),
            expires_unix_s: 1_800_000_000,
        };
        let own = mark.labels().unwrap();
        let made = |hour: u32| json!({"created": format!("2026-12-01T{hour:02}:00:00Z")});
        let id = double.add("servers", "firedrill-a3f-worker-1", &own, made(10));
        let address = |id: i64| json!({"id": id, "type": "ipv4", "ip": "192.0.2.9", "location": {"name": "fsn1"}, "created": "2026-12-01T10:00:00Z"});
        double.add("primary_ips", "of-the-server", &own, address(900 + id));
        double.add("primary_ips", "alone", &own, address(7));
        double.add("volumes", "pvc-1", &own, json!({"size": 10, "created": "2026-12-01T11:30:00+00:00"}));
        double.add("servers", "of-somebody", &Labels::new(), made(1));
        let now = "2026-12-01T12:00:01Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let scope = Scope::Cluster("firedrill-a3f".to_owned());
        let bill = bill(&client_of(&server), &scope, now).await.unwrap();
        // An hour: a server 0.01, two addresses 0.002, 10 GB 0.01. Three begun hours but for the volume, which has one.
        let expected = "4 billed resources: at most 0.0460 EUR so far, 0.0220 EUR per hour";
        assert_eq!(bill.to_string(), expected);
        double.add("volumes", "pvc-2", &own, json!({"size": 10, "created": "yesterday"}));
        let error = super::bill(&client_of(&server), &scope, now).await.unwrap_err().to_string();
        assert_eq!(error, "Hetzner sent the creation time `yesterday`, which is not RFC 3339, so the cost is unknown");
    }
}
