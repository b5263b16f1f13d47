// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Completion scripts and man pages, from the command line's own description.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;

use crate::Error;
use crate::args::Args;

/// Prints a completion script.
pub(crate) fn completion(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "portway", &mut script);
    io::stdout().write_all(&script).map_err(|error| Error::output(&error))
}

/// Prints the page of `portway`, or writes it and the pages of all commands into a folder.
pub(crate) fn man(folder: Option<&Path>) -> Result<(), Error> {
    let command = Args::command();
    match folder {
        None => {
            let page = page(&command).map_err(|error| Error::output(&error))?;
            io::stdout().write_all(&page).map_err(|error| Error::output(&error))
        }
        Some(folder) => write_pages(folder, &command, "portway").map_err(|error| {
            Error::Local(format!("cannot write man pages to {}: {error}", folder.display()), None)
        }),
    }
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).section("8").render(&mut page)?;
    Ok(page)
}

fn write_pages(folder: &Path, command: &clap::Command, name: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // Leaked once per command, in a program that ends right after: clap wants names that live for ever.
    let named = command.clone().name(&*Box::leak(name.to_owned().into_boxed_str()));
    std::fs::write(folder.join(format!("{name}.8")), page(&named)?)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(folder, sub, &format!("{name}-{}", sub.get_name()))?;
    }
    Ok(())
}
