//! Writes a simulated catalogue: `cargo run --example simulate [FILE [OBJECTS]]`. The same file each time.

mod catalogue;
mod sources;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "visibilities.parquet".into());
    let objects = arguments.next().map_or(Ok(200), |count| count.parse())?;
    catalogue::write(std::path::Path::new(&file), objects)
}
