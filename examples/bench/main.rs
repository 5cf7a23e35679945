//! Whole clusters on the instant clock, as a user makes them: `bench create|scale BINARY`.

mod create;
mod scale;
mod site;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (what, binary) = (args.next().unwrap_or_default(), args.next().ok_or("which binary?")?);
    let lines = match what.as_str() {
        "create" => create::lines(&binary)?,
        "scale" => scale::lines(&binary)?,
        _ => return Err(format!("no bench {what:?}: create or scale").into()),
    };
    #[expect(clippy::print_stdout, reason = "this is what it is for")]
    for line in lines {
        println!("{line}");
    }
    Ok(())
}
