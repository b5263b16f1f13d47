// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C header, from the Rust declarations: constants to `#define`, `repr(C)` structs to `struct portway_*`, doc comments
//! along with them. It knows what those declarations use and refuses anything else.

#![allow(clippy::wildcard_enum_match_arm, reason = "syntax has more kinds than the header uses")]

use std::fmt::Write;

use syn::{Attribute, Expr, Fields, File, Item, ItemConst, ItemStruct, Lit, Meta, ReturnType, Type};

const PREAMBLE: &str = "\
/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C ABI between Portway and a port-type module (vport-type-<N>.so).
 *
 * Generated from crates/vport/src/abi.rs and crates/buf/src by the test `header` of crate portway-vport; run it with
 * PORTWAY_BLESS=1 to write this file anew. docs/howto-port.md walks through a module.
 *
";

const GUARD: &str = " */
#ifndef PORTWAY_VPORT_H
#define PORTWAY_VPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern \"C\" {
#endif
";

const END: &str = "
/* The type of a module's one exported symbol: PORTWAY_MODULE(42) = { ... }; */
#ifdef __cplusplus
}
/* Declared first: a constant has internal linkage otherwise. */
#define PORTWAY_MODULE(type) \\
\textern \"C\" __attribute__((visibility(\"default\"))) const struct portway_port_module portway_vport_type_##type; \\
\tconst struct portway_port_module portway_vport_type_##type
#else
#define PORTWAY_MODULE(type) \\
\t__attribute__((visibility(\"default\"))) const struct portway_port_module portway_vport_type_##type
#endif

#endif /* PORTWAY_VPORT_H */
";

/// A declaration longer than this gets a line for each argument.
const LINE: usize = 100;

/// Names of structs whose Rust name does not say it well in C.
const RENAMED: [(&str, &str); 2] = [("RawPacket", "portway_packet"), ("PoolHandle", "portway_pool")];

/// Modules of constants: their name becomes part of the constants'.
const PREFIXES: [(&str, &str); 7] = [
    ("info_flags", "INFO_"),
    ("option_kind", "OPTION_"),
    ("log_level", "LOG_"),
    ("flags", "PACKET_"),
    ("tunnel_flags", "TUNNEL_"),
    ("refused", "REFUSED_"),
    ("shortcut_layout", "SHORTCUT_"),
];

/// The header's text. `wanted` names the structs to take from each source, in the order in which C needs them.
pub(crate) fn header(sources: &[(&str, &[&str])]) -> String {
    let mut out = String::from(PREAMBLE);
    let files: Vec<File> = sources.iter().map(|(text, _)| syn::parse_file(text).unwrap()).collect();
    let abi = files.last().unwrap();
    for line in doc(&abi.attrs) {
        writeln!(out, " *{}{line}", if line.is_empty() { "" } else { " " }).unwrap();
    }
    out += GUARD;
    for file in &files {
        constants(&mut out, &file.items, "");
    }
    for (file, (_, wanted)) in files.iter().zip(sources) {
        for name in *wanted {
            let found = file.items.iter().find_map(|item| match item {
                Item::Struct(item) if item.ident == name => Some(item),
                _ => None,
            });
            structure(&mut out, found.unwrap_or_else(|| panic!("no struct {name}")));
        }
    }
    out + END
}

fn doc(attrs: &[Attribute]) -> Vec<String> {
    let lines = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(expr) => match &expr.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.map(|line| in_c(line.strip_prefix(' ').unwrap_or(&line))).collect()
}

/// A doc line without what only Rust's documentation understands.
fn in_c(line: &str) -> String {
    let mut line = line.replace("crate::ops::", "").replace("crate::", "").replace("Self::", "");
    line = line.replace("[`", "`").replace("`]", "`").replace("*/", "* /");
    line.trim_end().to_string()
}

fn comment(out: &mut String, indent: &str, attrs: &[Attribute]) {
    let lines = doc(attrs);
    if let [line] = lines.as_slice() {
        writeln!(out, "{indent}/* {line} */").unwrap();
    } else if !lines.is_empty() {
        writeln!(out, "{indent}/*").unwrap();
        for line in lines {
            writeln!(out, "{indent} *{}{line}", if line.is_empty() { "" } else { " " }).unwrap();
        }
        writeln!(out, "{indent} */").unwrap();
    }
}

fn constants(out: &mut String, items: &[Item], prefix: &str) {
    for item in items {
        match item {
            Item::Const(item) if is_public(&item.vis) => constant(out, item, prefix),
            Item::Mod(module) => {
                let prefix = PREFIXES.iter().find(|(name, _)| module.ident == name);
                if let (Some((_, prefix)), Some((_, items))) = (prefix, &module.content) {
                    writeln!(out).unwrap();
                    comment(out, "", &module.attrs);
                    constants(out, items, prefix);
                }
            }
            _ => {}
        }
    }
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

fn constant(out: &mut String, item: &ItemConst, prefix: &str) {
    let Some(value) = expression(&item.expr) else { return };
    if prefix.is_empty() {
        writeln!(out).unwrap();
    }
    comment(out, "", &item.attrs);
    writeln!(out, "#define PORTWAY_{prefix}{} {value}", item.ident).unwrap();
}

/// A constant's value in C; `None`: it is not one that C needs (computed from other constants).
fn expression(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(expr) => match &expr.lit {
            Lit::Int(int) if int.to_string().starts_with("0x") => Some(format!("{int}u").replace('_', "")),
            Lit::Int(int) => Some(int.base10_digits().to_string()),
            Lit::Str(text) => Some(format!("{:?}", text.value())),
            _ => None,
        },
        Expr::Unary(expr) => Some(format!("(-{})", expression(&expr.expr)?)),
        Expr::Binary(expr) => {
            let op = match expr.op {
                syn::BinOp::Shl(_) => "<<",
                syn::BinOp::Add(_) => "+",
                _ => return None,
            };
            Some(format!("({} {op} {})", expression(&expr.left)?, expression(&expr.right)?))
        }
        _ => None,
    }
}

fn structure(out: &mut String, item: &ItemStruct) {
    let layout = item.attrs.iter().find(|attr| attr.path().is_ident("repr")).expect("a repr");
    let layout = layout.meta.require_list().unwrap().tokens.to_string();
    assert!(layout.starts_with('C'), "{}: repr({layout})", item.ident);
    let align = if layout.contains("align (64)") { " __attribute__((aligned(64)))" } else { "" };
    writeln!(out).unwrap();
    comment(out, "", &item.attrs);
    writeln!(out, "struct {} {{", struct_name(&item.ident.to_string())).unwrap();
    let Fields::Named(fields) = &item.fields else { panic!("{}: not a struct with names", item.ident) };
    for field in &fields.named {
        let name = c_name(&field.ident.as_ref().unwrap().to_string());
        comment(out, "\t", &field.attrs);
        let declared = declaration(&field.ty, &name);
        let declared = if declared.len() > LINE { declared.replace(", ", ",\n\t\t") } else { declared };
        writeln!(out, "\t{declared};").unwrap();
    }
    writeln!(out, "}}{align};").unwrap();
}

fn struct_name(rust: &str) -> String {
    if let Some((_, c)) = RENAMED.iter().find(|(name, _)| *name == rust) {
        return (*c).into();
    }
    let mut name = String::from("portway");
    for c in rust.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// A field's or an argument's name; `class` is taken in C++.
fn c_name(rust: &str) -> String {
    if rust == "class" { "size_class".into() } else { rust.into() }
}

/// `name` declared with the type `ty`.
fn declaration(ty: &Type, name: &str) -> String {
    match ty {
        Type::Ptr(pointer) => {
            let constant =
                if matches!(pointer.mutability, syn::PointerMutability::Const(_)) { "const " } else { "" };
            match &*pointer.elem {
                // A pointer to a pointer: the constness is the outer one's.
                Type::Ptr(_) => declaration(&pointer.elem, &format!("*{name}")),
                elem => format!("{constant}{}", declaration(elem, &format!("*{name}"))),
            }
        }
        Type::Array(array) => {
            let len = match &array.len {
                Expr::Path(constant) => format!("PORTWAY_{}", constant.path.segments.last().unwrap().ident),
                len => expression(len).unwrap(),
            };
            declaration(&array.elem, &format!("{name}[{len}]"))
        }
        Type::FnPtr(function) => {
            let arguments = function.inputs.iter().enumerate().map(|(index, argument)| {
                let fallback = format!("arg{index}");
                let name = argument.name.as_ref().map_or(fallback, |(name, _)| c_name(&name.to_string()));
                declaration(&argument.ty, &name)
            });
            let arguments: Vec<_> = arguments.collect();
            let arguments = if arguments.is_empty() { "void".into() } else { arguments.join(", ") };
            let called = format!("(*{name})({arguments})");
            match &function.output {
                ReturnType::Default => format!("void {called}"),
                ReturnType::Type(_, ty) => declaration(ty, &called),
            }
        }
        Type::Path(path) => {
            let last = path.path.segments.last().unwrap();
            let spaced = format!(" {name}");
            match last.ident.to_string().as_str() {
                "Option" => match &last.arguments {
                    syn::PathArguments::AngleBracketed(inner) => match inner.args.first().unwrap() {
                        syn::GenericArgument::Type(inner) => declaration(inner, name),
                        _ => panic!("an option of no type"),
                    },
                    _ => panic!("an option of nothing"),
                },
                "Box" => format!("void *{name}"),
                "u8" | "u16" | "u32" | "u64" | "i32" | "i64" => {
                    let ty = last.ident.to_string();
                    let (sign, bits) = ty.split_at(1);
                    let ty = format!("{}int{bits}_t", sign.trim_matches('i'));
                    ty + &spaced
                }
                "usize" => format!("size_t{spaced}"),
                "isize" => format!("ssize_t{spaced}"),
                "c_char" => format!("char{spaced}"),
                "c_void" => format!("void{spaced}"),
                "Self" => format!("struct portway_pool{spaced}"),
                other => format!("struct {}{spaced}", struct_name(other)),
            }
        }
        _ => panic!("{name}: a type that the header does not know"),
    }
}

/// The structs' names in C with their fields, for whoever wants to compare layouts.
pub(crate) fn fields(text: &str, wanted: &str) -> (String, Vec<String>) {
    let file = syn::parse_file(text).unwrap();
    let found = file.items.iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == wanted => Some(item),
        _ => None,
    });
    let item = found.unwrap_or_else(|| panic!("no struct {wanted}"));
    let names = item.fields.iter().map(|field| field.ident.as_ref().unwrap().to_string());
    (struct_name(wanted), names.collect())
}
