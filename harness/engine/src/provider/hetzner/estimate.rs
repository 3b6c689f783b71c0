//! What a new cluster can cost until its lifetime ends.

use super::machine_types::Choice;
use super::price::{Amount, Item, PriceError, Prices};
use super::settings::Settings;
use std::fmt;

/// Room for volumes of the stack in an estimate, in GB together.
const VOLUMES_GB: u64 = 200;
/// Room for a server that a drill makes while the lost one still exists.
const SPARE_SERVERS: u32 = 1;

/// The cost of a cluster whose servers are all of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    servers: u32,
    server_type: String,
    location: String,
    per_hour: Amount,
    bound: Amount,
    hours: u64,
    currency: String,
}

impl Estimate {
    /// Calculates it for a cluster that lives this long.
    ///
    /// # Errors
    /// If a price is missing, or the bound exceeds the user's.
    pub(crate) fn of(
        prices: &Prices,
        settings: &Settings,
        choice: &Choice,
        lasts_s: u64,
        max: Option<Amount>,
    ) -> Result<Self, PriceError> {
        let servers = settings.control_planes + settings.workers;
        let items = |servers: u32| {
            let Choice { server_type, location, .. } = choice.clone();
            let server = [Item::Server { server_type, location: location.clone() }, Item::Ipv4 { location }];
            (0..servers).flat_map(move |_| server.clone()).collect::<Vec<_>>()
        };
        let mut all = items(servers + SPARE_SERVERS);
        all.push(Item::Volume { size_gb: VOLUMES_GB });
        Ok(Self {
            servers,
            server_type: choice.server_type.clone(),
            location: choice.location.clone(),
            per_hour: prices.all_per_hour(&items(servers))?,
            bound: prices.bound(&all, lasts_s, max)?,
            hours: lasts_s.div_ceil(3600),
            currency: prices.currency.clone(),
        })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, server_type, location, per_hour, bound, hours, currency } = self;
        write!(
            f,
            "{servers} servers {server_type} in {location}: {per_hour} {currency} per hour; at most {bound} {currency} in {hours} h, with \
             {SPARE_SERVERS} replacement and {VOLUMES_GB} GB of volumes"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{CloudOptions, ClusterOptions};
    use serde_json::json;

    #[test]
    fn the_bound_holds_a_replacement_and_volumes() {
        let price = |gross: &str| json!({"net": "0", "gross": gross});
        let at = |gross: &str| json!([{"location": "fsn1", "price_hourly": price(gross)}]);
        let prices: Prices = serde_json::from_value(json!({
            "currency": "EUR", "server_types": [{"name": "cx33", "prices": at("0.01")}],
            "primary_ips": [{"type": "ipv4", "prices": at("0.001")}], "volume": {"price_per_gb_month": price("0.0672")}}))
        .unwrap();
        let cloud = CloudOptions { allow_from: vec!["198.51.100.7".to_owned()], ..CloudOptions::default() };
        let name = "firedrill-a3f".to_owned();
        let settings =
            Settings::of(&ClusterOptions { name, workers: 3, node_image: None, volumes: None, cloud }).unwrap();
        let per_hour = Amount::default();
        let choice = Choice { server_type: "cx33".to_owned(), location: "fsn1".to_owned(), per_hour };
        let estimate = |max: Option<&str>| {
            let max = max.map(|max| Amount::parse(max).unwrap());
            Estimate::of(&prices, &settings, &choice, 8 * 3600, max).map(|estimate| estimate.to_string())
        };
        // An hour: five servers 0.055, 200 GB 0.02.
        let expected = "4 servers cx33 in fsn1: 0.0440 EUR per hour; at most 0.6000 EUR in 8 h, with 1 replacement and 200 GB of volumes";
        assert_eq!(estimate(Some("0.6")).unwrap(), expected);
        let error = estimate(Some("0.59")).unwrap_err().to_string();
        assert!(error.starts_with("the cost can reach 0.6000 EUR, but --max-cost is 0.5900"), "{error}");
    }
}
