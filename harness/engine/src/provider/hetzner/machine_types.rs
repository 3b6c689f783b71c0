//! Chooses server type, location and image among those that are available and not deprecated.

use super::client::{ApiError, Client, Image, ServerType};
use super::price::{Amount, PriceError};
use thiserror::Error;

/// Requirements of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    /// The type, if the user named one.
    pub(crate) server_type: Option<String>,
    /// The location, if the user named one.
    pub(crate) location: Option<String>,
    /// `x86` or `arm`, as the stack's images need.
    pub(crate) architecture: String,
    /// Minimum number of CPU cores.
    pub(crate) cores: u32,
    /// Minimum memory in GB.
    pub(crate) memory_gb: f64,
}

/// A type at a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The type: `cx23`.
    pub(crate) server_type: String,
    /// The location: `fsn1`.
    pub(crate) location: String,
    /// Gross price per hour.
    pub(crate) per_hour: Amount,
}

/// No server type or image can be used.
#[derive(Debug, Error)]
pub(crate) enum ChoiceError {
    /// The API failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A price cannot be read.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// No type has that name.
    #[error("Hetzner has no server type {name} (types: {known})")]
    NoType {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// No type is at that location.
    #[error("Hetzner has no location {name} (locations: {known})")]
    NoLocation {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// No suitable type is available.
    #[error(
        "no server type with {cores} cores and {memory_gb} GB ({architecture}) is available{place} at the moment: choose another location or type"
    )]
    Nothing {
        /// CPU cores.
        cores: u32,
        /// Memory in GB.
        memory_gb: f64,
        /// The architecture.
        architecture: String,
        /// ` in fsn1`, or empty.
        place: String,
    },
    /// No image of that name is usable.
    #[error("Hetzner has no usable image {name} for {architecture}")]
    NoImage {
        /// Its name.
        name: String,
        /// The architecture.
        architecture: String,
    },
}

/// Lists suitable types and locations, the cheapest first. If the first has no capacity ([`super::client::Code::ResourceUnavailable`]),
/// the caller tries the next.
///
/// # Errors
/// If nothing is suitable, or the API fails.
pub(crate) async fn choices(client: &Client, need: &Need) -> Result<Vec<Choice>, ChoiceError> {
    let types: Vec<ServerType> = client.list("/server_types", "server_types", &[]).await?;
    choose(&types, need)
}

fn choose(types: &[ServerType], need: &Need) -> Result<Vec<Choice>, ChoiceError> {
    if let Some(name) = &need.server_type
        && !types.iter().any(|found| found.name == *name)
    {
        return Err(ChoiceError::NoType { name: name.clone(), known: known(types.iter().map(|found| &found.name)) });
    }
    let locations = || types.iter().flat_map(|found| &found.locations).map(|location| &location.name);
    if let Some(name) = &need.location
        && !locations().any(|found| found == name)
    {
        return Err(ChoiceError::NoLocation { name: name.clone(), known: known(locations()) });
    }
    let is_named = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let mut choices = Vec::new();
    for found in types {
        let is_enough = found.cores >= need.cores && found.memory >= need.memory_gb;
        let would_do = is_enough && found.architecture == need.architecture && found.deprecation.is_none();
        if !would_do || !is_named(&need.server_type, &found.name) {
            continue;
        }
        for location in &found.locations {
            let is_had = location.available && location.deprecation.is_none();
            if !is_had || !is_named(&need.location, &location.name) {
                continue;
            }
            let price = found.prices.iter().find(|price| price.location == location.name);
            // What has no price cannot be counted, and is not taken.
            let Some(price) = price else { continue };
            let per_hour = Amount::parse(&price.price_hourly.gross)?;
            choices.push(Choice { server_type: found.name.clone(), location: location.name.clone(), per_hour });
        }
    }
    let key = |choice: &Choice| (choice.per_hour, choice.server_type.clone(), choice.location.clone());
    choices.sort_by_key(key);
    if choices.is_empty() {
        let place = need.location.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
        let Need { architecture, cores, memory_gb, .. } = need.clone();
        return Err(ChoiceError::Nothing { cores, memory_gb, architecture, place });
    }
    Ok(choices)
}

/// Finds Hetzner's system image of that name (`debian-13`) for an architecture. Returns its id.
///
/// # Errors
/// If no image is usable, or the API fails.
pub(crate) async fn image(client: &Client, name: &str, architecture: &str) -> Result<i64, ChoiceError> {
    let query = [("type", "system"), ("name", name), ("architecture", architecture)];
    let images: Vec<Image> = client.list("/images", "images", &query).await?;
    let is_it = |image: &&Image| {
        let is_named = image.name.as_deref() == Some(name) && image.architecture == architecture;
        is_named && image.status == "available" && image.deprecated.is_none()
    };
    let found = images.iter().find(is_it).map(|image| image.id);
    let (name, architecture) = (name.to_owned(), architecture.to_owned());
    found.ok_or(ChoiceError::NoImage { name, architecture })
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: std::collections::BTreeSet<_> = names.map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::client::{Double, client_of};
    use super::super::labels::Labels;
    use super::*;
    use serde_json::{Value, json};

    fn server_type(name: &str, architecture: &str, cores: u32, price: &str, locations: Value) -> Value {
        let at = |location: &str| json!({"location": location, "price_hourly": {"net": "0", "gross": price}});
        json!({"id": 1, "name": name, "architecture": architecture, "cores": cores, "memory": f64::from(cores) * 2.0,
            "disk": 40, "deprecation": null, "locations": locations, "prices": [at("fsn1"), at("hel1")], "category": "new"})
    }

    fn at(name: &str, available: bool) -> Value {
        json!({"id": 1, "name": name, "available": available, "deprecation": null, "recommended": true})
    }

    fn types() -> Vec<ServerType> {
        let old = json!({"announced": "2026-01-01T00:00:00Z", "unavailable_after": "2026-12-31T00:00:00Z"});
        let leaving = json!([{"id": 1, "name": "fsn1", "available": true, "deprecation": old}]);
        let mut deprecated = server_type("cx22", "x86", 2, "0.001", json!([at("fsn1", true)]));
        deprecated["deprecation"] = old;
        let all = json!([
            deprecated,
            server_type("cx21", "x86", 2, "0.002", leaving),
            server_type("cx23", "x86", 2, "0.010", json!([at("fsn1", false), at("hel1", true), at("nbg1", true)])),
            server_type("cx33", "x86", 4, "0.020", json!([at("fsn1", true), at("hel1", true)])),
            server_type("cax11", "arm", 2, "0.003", json!([at("fsn1", true)])),
        ]);
        serde_json::from_value(all).unwrap()
    }

    fn need() -> Need {
        Need { server_type: None, location: None, architecture: "x86".to_owned(), cores: 2, memory_gb: 4.0 }
    }

    fn names(need: &Need) -> Vec<String> {
        let choices = choose(&types(), need).unwrap();
        choices.iter().map(|choice| format!("{}@{}", choice.server_type, choice.location)).collect()
    }

    #[test]
    fn what_can_be_had_comes_by_its_price() {
        assert_eq!(names(&need()), ["cx23@hel1", "cx33@fsn1", "cx33@hel1"]);
        assert_eq!(names(&Need { location: Some("fsn1".to_owned()), ..need() }), ["cx33@fsn1"]);
        assert_eq!(names(&Need { memory_gb: 6.0, ..need() }), ["cx33@fsn1", "cx33@hel1"]);
        assert_eq!(names(&Need { server_type: Some("cx33".to_owned()), ..need() }), ["cx33@fsn1", "cx33@hel1"]);
        assert_eq!(names(&Need { architecture: "arm".to_owned(), ..need() }), ["cax11@fsn1"]);
    }

    #[test]
    fn what_cannot_be_had_is_named_with_what_can() {
        let error = |need: Need| choose(&types(), &need).unwrap_err().to_string();
        let no_type = error(Need { server_type: Some("cx99".to_owned()), ..need() });
        assert_eq!(no_type, "Hetzner has no server type cx99 (types: cax11, cx21, cx22, cx23, cx33)");
        let no_location = error(Need { location: Some("mars".to_owned()), ..need() });
        assert_eq!(no_location, "Hetzner has no location mars (locations: fsn1, hel1, nbg1)");
        let nothing = error(Need { cores: 64, location: Some("fsn1".to_owned()), ..need() });
        assert!(nothing.starts_with("no server type with 64 cores and 4 GB (x86) is available in fsn1"), "{nothing}");
        for deprecated in ["cx21", "cx22"] {
            assert!(choose(&types(), &Need { server_type: Some(deprecated.to_owned()), ..need() }).is_err());
        }
    }

    #[tokio::test]
    async fn an_image_is_found_by_name_and_architecture() {
        let double = Double::default();
        let server = double.start().await;
        let client = client_of(&server);
        let add = |name: &str, architecture: &str, status: &str, deprecated: Value| {
            let more = json!({"architecture": architecture, "status": status, "deprecated": deprecated});
            double.add("images", name, &Labels::new(), more)
        };
        add("debian-13", "arm", "available", Value::Null);
        add("debian-13", "x86", "creating", Value::Null);
        add("debian-13", "x86", "available", json!("2026-01-01T00:00:00Z"));
        let wanted = add("debian-13", "x86", "available", Value::Null);
        assert_eq!(image(&client, "debian-13", "x86").await.unwrap(), wanted);
        let error = image(&client, "debian-99", "x86").await.unwrap_err().to_string();
        assert_eq!(error, "Hetzner has no usable image debian-99 for x86");
    }
}
