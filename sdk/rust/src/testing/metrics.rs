//! The metrics that the stand-in hears. It looks at the numbers; names and tags
//! it leaves to the real host.

use crate::bindings::drover::plugin::metrics::{Error, Measure, Sample};

use super::HOST;

pub(crate) fn add(sample: &Sample) -> Result<(), Error> {
    let (Measure::Count(value)
    | Measure::Gauge(value)
    | Measure::GaugeChange(value)
    | Measure::Timing(value)) = sample.measure
    else {
        hear(sample);
        return Ok(());
    };
    if !value.is_finite() {
        return Err(Error::NotFinite);
    }
    hear(sample);
    Ok(())
}

pub(crate) fn add_all(samples: &[Sample]) -> Result<(), (u32, Error)> {
    for (sample, index) in samples.iter().zip(0..) {
        add(sample).map_err(|error| (index, error))?;
    }
    Ok(())
}

fn hear(sample: &Sample) {
    HOST.with_borrow_mut(|host| {
        if let Some((_, heard)) = host {
            heard.samples.push(sample.clone());
        }
    });
}
