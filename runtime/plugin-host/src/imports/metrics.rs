//! `wit/metrics.wit`: what a job measures, on its way to whoever adds it up.

use drover_api::{JobId, Level};

use crate::bindings::drover::plugin::metrics::{Error, Host, Sample};
use crate::instance::State;
use crate::measuring::{Measured, SERIES};
use crate::surroundings::Meter;

/// What the metrics of an instance go through.
#[derive(Default)]
pub(crate) struct Measuring {
    measured: Measured,
    /// There once something was measured, if anybody takes it.
    meter: Option<Box<dyn Meter>>,
    has_told: bool,
}

impl Host for State {
    fn add(&mut self, sample: Sample) -> Result<(), Error> {
        self.add_all(vec![sample]).map_err(|(_, error)| error)
    }

    fn add_all(&mut self, samples: Vec<Sample>) -> Result<(), (u32, Error)> {
        let Ok(job) = self.call.job.parse::<JobId>() else { return Ok(()) };
        let mut lines = String::new();
        let mut write = |sample| self.measuring.measured.write(sample, &mut lines);
        let wrong = samples.iter().zip(0..).find_map(|(sample, index)| {
            let error = write(sample).err()?;
            Some((index, error))
        });
        self.pass_on(&job, &lines);
        match wrong {
            None => Ok(()),
            Some((index, error)) => {
                self.tell_once(&error);
                Err((index, error))
            }
        }
    }
}

impl State {
    fn pass_on(&mut self, job: &JobId, lines: &str) {
        let Some(meters) = self.surroundings.meters.as_ref().filter(|_| !lines.is_empty()) else {
            return;
        };
        let (plugin, operation) = (&*self.call.plugin, &*self.call.operation);
        let meter =
            self.measuring.meter.get_or_insert_with(|| meters.meter(job, plugin, operation));
        meter.add(lines);
    }

    fn tell_once(&mut self, error: &Error) {
        if matches!(error, Error::TooManySeries(_))
            && !std::mem::replace(&mut self.measuring.has_told, true)
        {
            let text = format!(
                "`{}` measures more than the {SERIES} series that a job may have: the others are \
                 left out; use fewer names and tags",
                self.call.command()
            );
            self.call.say_now(crate::records::record(Level::WARNING, &text));
        }
    }
}
