// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Port types by name or number, and their options from text to what the type takes.

use std::collections::BTreeMap;

use portway_api::{Failure, FailureKind};
use portway_vport::abi::option_kind;
use portway_vport::options::{push, push_str};
use portway_vport::{Errno, OptionInfo, Registry, TypeInfo};

use super::failures::vport_kind;
use crate::config::meant;

/// Types whose number is known before their module is.
const NUMBERS: &[(&str, u32)] = &[
    ("netdev", 1),
    ("internal", 2),
    ("gre", 3),
    ("vxlan", 4),
    ("geneve", 5),
    ("lisp", 105),
    ("stt", 106),
    ("null", 1000),
    ("pcap", 1001),
];

/// The number of a port type that a user named.
pub(super) fn number(registry: &Registry, name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let known = NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    if let Some(number) = registry.find_name(name).or(known) {
        return Ok(number);
    }
    let loaded: Vec<String> = registry.list().into_iter().map(|info| info.name).collect();
    let names = loaded.iter().map(String::as_str).chain(NUMBERS.iter().map(|(name, _)| *name));
    let remedy = match meant(name, names) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => "give the type's number, or load its module first: portway module load NUMBER".to_owned(),
    };
    Err(Failure::new(FailureKind::Unsupported, format!("there is no port type {name:?}")).remedy(remedy))
}

/// A type's description; its module is loaded if it must be.
pub(super) fn description(registry: &Registry, number: u32) -> Result<TypeInfo, Failure> {
    registry.load(number).map_err(|error| {
        let path: Vec<String> =
            registry.module_path().iter().map(|path| path.display().to_string()).collect();
        let remedy = format!("modules are looked for in {} (--module-path)", path.join(", "));
        Failure::new(vport_kind(&error), error.to_string()).remedy(remedy)
    })?;
    let found = registry.list().into_iter().find(|info| info.port_type == number);
    found.ok_or_else(|| Failure::new(FailureKind::Unsupported, format!("port type {number} has just gone")))
}

/// Options as the type takes them.
pub(super) fn encode(kind: &TypeInfo, options: &BTreeMap<String, String>) -> Result<Vec<u8>, Failure> {
    let mut encoded = Vec::new();
    for (name, value) in options {
        let Some(option) = kind.options.iter().find(|option| option.name == *name) else {
            return Err(unknown_option(kind, name));
        };
        append(&mut encoded, option, value).map_err(|wanted| {
            let message = format!("option {name:?} of port type {} cannot be {value:?}", kind.name);
            Failure::new(FailureKind::BadRequest, message).remedy(format!("{wanted}: {}", option.help))
        })?;
    }
    Ok(encoded)
}

fn unknown_option(kind: &TypeInfo, name: &str) -> Failure {
    let known: Vec<&str> = kind.options.iter().map(|option| option.name.as_str()).collect();
    let remedy = match (meant(name, known.iter().copied()), &known[..]) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, []) => "remove it: the type takes no options".to_owned(),
        (None, known) => format!("it takes: {}", known.join(", ")),
    };
    Failure::new(FailureKind::BadRequest, format!("port type {} has no option {name:?}", kind.name))
        .remedy(remedy)
}

/// Appends one option; the error says what it should be.
fn append(out: &mut Vec<u8>, option: &OptionInfo, value: &str) -> Result<(), &'static str> {
    let done = |result: Result<(), Errno>| result.map_err(|_| "the value is too long");
    match option.kind {
        option_kind::STRING => done(push_str(out, option.attr, value)),
        option_kind::U16 => {
            let number: u16 = value.parse().map_err(|_| "a number from 0 to 65535")?;
            done(push(out, option.attr, &number.to_ne_bytes()))
        }
        option_kind::U32 => {
            let number: u32 = value.parse().map_err(|_| "a number from 0 to 4294967295")?;
            done(push(out, option.attr, &number.to_ne_bytes()))
        }
        option_kind::U64 => {
            let number: u64 = value.parse().map_err(|_| "a number from 0 to 18446744073709551615")?;
            done(push(out, option.attr, &number.to_ne_bytes()))
        }
        option_kind::FLAG if value == "true" => done(push(out, option.attr, &[])),
        option_kind::FLAG if value == "false" => Ok(()),
        _ => Err("true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> TypeInfo {
        let option =
            |attr, kind, name: &str| OptionInfo { attr, kind, name: name.into(), help: "Help.".into() };
        TypeInfo {
            port_type: 1001,
            name: "pcap".into(),
            file: None,
            references: 0,
            faults: 0,
            options: vec![
                option(1, option_kind::STRING, "rx"),
                option(2, option_kind::U16, "port"),
                option(3, option_kind::FLAG, "fast"),
                option(4, option_kind::U64, "loops"),
            ],
        }
    }

    fn encoded(name: &str, value: &str) -> Result<Vec<u8>, Failure> {
        encode(&kind(), &BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn options_become_attributes() {
        assert_eq!(encoded("rx", "a").unwrap(), [6, 0, 1, 0, b'a', 0, 0, 0]);
        assert_eq!(encoded("port", "513").unwrap(), [6, 0, 2, 0, 1, 2, 0, 0]);
        assert_eq!(encoded("fast", "true").unwrap(), [4, 0, 3, 0]);
        assert!(encoded("fast", "false").unwrap().is_empty());
        assert_eq!(encoded("loops", "1").unwrap().len(), 12);
    }

    #[test]
    fn bad_options_are_named() {
        let said = |name, value| {
            let failure = encoded(name, value).unwrap_err();
            format!("{} / {}", failure.message, failure.remedy.unwrap())
        };
        assert_eq!(said("rxx", "a"), "port type pcap has no option \"rxx\" / did you mean \"rx\"?");
        assert_eq!(
            said("colour", "a"),
            "port type pcap has no option \"colour\" / it takes: rx, port, fast, loops"
        );
        assert_eq!(
            said("port", "65536"),
            "option \"port\" of port type pcap cannot be \"65536\" / a number from 0 to 65535: Help."
        );
        assert_eq!(
            said("fast", "yes"),
            "option \"fast\" of port type pcap cannot be \"yes\" / true or false: Help."
        );
    }

    #[test]
    fn types_have_names_and_numbers() {
        let registry = Registry::new();
        assert_eq!(number(&registry, "pcap").unwrap(), 1001);
        assert_eq!(number(&registry, "77").unwrap(), 77);
        assert!(number(&registry, "netdv").unwrap_err().remedy.unwrap().contains("netdev"));
        let failure = description(&registry, 77).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported);
    }
}
