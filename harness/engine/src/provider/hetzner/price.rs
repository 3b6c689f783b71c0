//! Prices of resources from Hetzner's price list, in exact integers. No price is a constant, because prices change.
//!
//! Every figure is an upper bound: gross prices, begun hours counted as whole hours, no monthly cap.

use super::client::{ApiError, Client};
use serde::Deserialize;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use thiserror::Error;

/// Decimal places of an amount. The API sends up to sixteen.
const DIGITS: u32 = 18;
const UNIT: u128 = 10_u128.pow(DIGITS);
/// Hours of the shortest month. The API gives a volume's price per month only; this yields the highest price per hour.
const HOURS_OF_SHORTEST_MONTH: u128 = 28 * 24;
const HOUR_S: u64 = 3600;

/// An exact amount of money in the account's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u128);

impl Amount {
    /// Parses a decimal number without a sign. Excess digits are rounded up.
    ///
    /// # Errors
    /// If it is not a number, or is too large.
    pub(crate) fn parse(text: &str) -> Result<Self, PriceError> {
        let bad = || PriceError::Number(text.to_owned());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(part) || text.ends_with('.') {
            return Err(bad());
        }
        let (kept, cut) = part.split_at(part.len().min(DIGITS as usize));
        let digits = format!("{whole}{kept:0<width$}", width = DIGITS as usize);
        let amount: u128 = digits.parse().map_err(|_| bad())?;
        let rest = u128::from(cut.bytes().any(|byte| byte != b'0'));
        amount.checked_add(rest).map(Self).ok_or_else(bad)
    }

    fn times(self, factor: u128) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    fn divided_up(self, by: u128) -> Self {
        Self(self.0.div_ceil(by))
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Amount {
    /// Four decimal places, rounded up, because an hour of a small server costs less than a cent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.div_ceil(UNIT / 10_000);
        write!(f, "{}.{:04}", shown / 10_000, shown % 10_000)
    }
}

/// The cost is unknown or too high.
#[derive(Debug, Error)]
pub(crate) enum PriceError {
    /// A price is not a decimal number.
    #[error("`{0}` is not an amount such as 0.0120")]
    Number(String),
    /// The price list lacks a price.
    #[error("Hetzner's price list has no price for {0}, so the cost is unknown")]
    Unknown(String),
    /// A creation time cannot be parsed.
    #[error("Hetzner sent the creation time `{0}`, which is not RFC 3339, so the cost is unknown")]
    Time(String),
    /// The API failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The cost exceeds `--max-cost`.
    #[error(
        "the cost can reach {cost} {currency}, but --max-cost is {max}: use fewer or smaller servers, or raise --max-cost"
    )]
    TooExpensive {
        /// The upper bound.
        cost: Amount,
        /// The value of `--max-cost`.
        max: Amount,
        /// The currency.
        currency: String,
    },
}

/// A billed item. Powered-off servers are billed too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// A server without its IP addresses.
    Server {
        /// Its type: `cx23`.
        server_type: String,
        /// Its location: `fsn1`.
        location: String,
    },
    /// A public IPv4 address, assigned or not.
    Ipv4 {
        /// Its location.
        location: String,
    },
    /// A volume.
    Volume {
        /// Its size in GB.
        size_gb: u64,
    },
}

/// Hetzner's price list. Networks, firewalls, placement groups, keys and IPv6 are free.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Prices {
    /// The currency: `EUR`.
    pub(crate) currency: String,
    #[serde(default)]
    server_types: Vec<ServerTypePrices>,
    #[serde(default)]
    primary_ips: Vec<PrimaryIpPrices>,
    volume: VolumePrice,
}

#[derive(Clone, Debug, Deserialize)]
struct ServerTypePrices {
    name: String,
    prices: Vec<LocationPrice>,
}

#[derive(Clone, Debug, Deserialize)]
struct PrimaryIpPrices {
    #[serde(rename = "type")]
    family: String,
    prices: Vec<LocationPrice>,
}

#[derive(Clone, Debug, Deserialize)]
struct VolumePrice {
    price_per_gb_month: Price,
}

/// A price at one location.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LocationPrice {
    pub(super) location: String,
    pub(super) price_hourly: Price,
}

/// A gross price. Net prices are not used, because the bound must hold for everyone.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Price {
    pub(super) gross: String,
}

impl Prices {
    /// Reads the price list.
    ///
    /// # Errors
    /// If the API fails.
    pub(crate) async fn fetch(client: &Client) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Reply {
            pricing: Prices,
        }
        let reply: Reply = client.get("/pricing", &[]).await?;
        Ok(reply.pricing)
    }

    /// The price of an item per hour.
    ///
    /// # Errors
    /// If the price list lacks it.
    pub(crate) fn per_hour(&self, item: &Item) -> Result<Amount, PriceError> {
        match item {
            Item::Server { server_type, location } => {
                let prices = self.server_types.iter().find(|prices| prices.name == *server_type);
                let what = format!("server type {server_type} in {location}");
                hourly_at(prices.map(|prices| prices.prices.as_slice()), location, what)
            }
            Item::Ipv4 { location } => {
                let prices = self.primary_ips.iter().find(|prices| prices.family == "ipv4");
                let what = format!("an IPv4 address in {location}");
                hourly_at(prices.map(|prices| prices.prices.as_slice()), location, what)
            }
            Item::Volume { size_gb } => {
                let month = Amount::parse(&self.volume.price_per_gb_month.gross)?.times(u128::from(*size_gb));
                Ok(month.divided_up(HOURS_OF_SHORTEST_MONTH))
            }
        }
    }

    /// The price of all items per hour.
    ///
    /// # Errors
    /// If the price list lacks one of them.
    pub(crate) fn all_per_hour(&self, items: &[Item]) -> Result<Amount, PriceError> {
        items.iter().map(|item| self.per_hour(item)).sum()
    }

    /// The cost of an item that existed for this long. Begun hours count as whole hours, at least one.
    ///
    /// # Errors
    /// If the price list lacks it.
    pub(crate) fn cost(&self, item: &Item, lasted_s: u64) -> Result<Amount, PriceError> {
        Ok(self.per_hour(item)?.times(begun_hours(lasted_s)))
    }

    /// The upper bound of the cost of all items if each exists for this long.
    ///
    /// # Errors
    /// If the price list lacks one of them, or the bound exceeds `max`.
    pub(crate) fn bound(&self, items: &[Item], lasts_s: u64, max: Option<Amount>) -> Result<Amount, PriceError> {
        let cost = self.all_per_hour(items)?.times(begun_hours(lasts_s));
        match max {
            Some(max) if cost > max => Err(PriceError::TooExpensive { cost, max, currency: self.currency.clone() }),
            _ => Ok(cost),
        }
    }
}

/// The hourly price at a location. `what` names the item in the error.
fn hourly_at(prices: Option<&[LocationPrice]>, location: &str, what: String) -> Result<Amount, PriceError> {
    let price = prices.unwrap_or_default().iter().find(|price| price.location == location);
    Amount::parse(&price.ok_or(PriceError::Unknown(what))?.price_hourly.gross)
}

fn begun_hours(seconds: u64) -> u128 {
    u128::from(seconds.div_ceil(HOUR_S).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    fn prices() -> Prices {
        let price = |gross: &str| json!({"net": "0", "gross": gross});
        let at = |location: &str, gross: &str| json!({"location": location, "price_hourly": price(gross), "new": 1});
        let list = json!({
            "currency": "EUR", "vat_rate": "19.00",
            "server_types": [{"id": 1, "name": "cx23", "prices": [at("fsn1", "0.0059500000000000"), at("hel1", "0.0070")]}],
            "primary_ips": [{"type": "ipv6", "prices": []}, {"type": "ipv4", "prices": [at("fsn1", "0.0008")]}],
            "volume": {"price_per_gb_month": price("0.0523600000000000")},
        });
        serde_json::from_value(list).unwrap()
    }

    fn server(location: &str) -> Item {
        Item::Server { server_type: "cx23".to_owned(), location: location.to_owned() }
    }

    #[test]
    fn amounts_are_exact_and_rounded_up_where_they_cannot_be() {
        for (text, shown) in [
            ("0", "0.0000"),
            ("12", "12.0000"),
            ("0.0059500000000000", "0.0060"),
            ("1.00000000000000000000000", "1.0000"),
            ("0.00000000000000000001", "0.0001"),
            ("3.99995", "4.0000"),
        ] {
            assert_eq!(amount(text).to_string(), shown, "{text}");
        }
        // Ten times a tenth is one: with floating point it is not.
        assert_eq!((0..10).map(|_| amount("0.1")).sum::<Amount>(), amount("1"));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1,5", "1e3", "NaN", "0x1", " 1", &"9".repeat(30)] {
            assert!(matches!(Amount::parse(bad), Err(PriceError::Number(_))), "{bad}");
        }
    }

    #[test]
    fn each_item_has_its_price_per_hour() {
        let prices = prices();
        assert_eq!(prices.per_hour(&server("fsn1")).unwrap(), amount("0.00595"));
        assert_eq!(prices.per_hour(&server("hel1")).unwrap(), amount("0.007"));
        let address = Item::Ipv4 { location: "fsn1".to_owned() };
        assert_eq!(prices.per_hour(&address).unwrap(), amount("0.0008"));
        // 10 GB for a month of 28 days are 0.5236: an hour is 1/672 of it.
        let volume = prices.per_hour(&Item::Volume { size_gb: 10 }).unwrap();
        assert!(volume > amount("0.000779166666666666") && volume < amount("0.000779166666666668"), "{volume:?}");
    }

    #[test]
    fn every_begun_hour_counts() {
        let prices = prices();
        for (lasted_s, hours) in [(0, 1), (1, 1), (3600, 1), (3601, 2), (7200, 2), (86_400, 24)] {
            let cost = prices.cost(&server("hel1"), lasted_s).unwrap();
            assert_eq!(cost, amount("0.007").times(hours), "{lasted_s} s");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        let prices = prices();
        let items = [server("fsn1"), server("fsn1"), Item::Ipv4 { location: "fsn1".to_owned() }];
        assert_eq!(prices.all_per_hour(&items).unwrap(), amount("0.0127"));
        assert_eq!(prices.bound(&items, 7200, None).unwrap(), amount("0.0254"));
        assert_eq!(prices.bound(&items, 7200, Some(amount("0.0254"))).unwrap(), amount("0.0254"));
        let error = prices.bound(&items, 7201, Some(amount("0.0254"))).unwrap_err().to_string();
        assert!(error.starts_with("the cost can reach 0.0381 EUR, but --max-cost is 0.0254"), "{error}");
    }

    #[test]
    fn a_missing_price_is_no_price_of_zero() {
        let error = prices().bound(&[server("nbg1")], 1, None).unwrap_err().to_string();
        assert!(error.starts_with("Hetzner's price list has no price for server type cx23 in nbg1"), "{error}");
        let address = Item::Ipv4 { location: "hel1".to_owned() };
        assert!(matches!(prices().per_hour(&address), Err(PriceError::Unknown(_))));
    }
}
