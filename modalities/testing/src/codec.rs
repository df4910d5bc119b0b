//! What is promised of tokenizers that learn.

use crate::compare::{same_rows, tokens_bits};
use crate::suite::{Suite, build_with};
use candle_core::Device;
use panchroma_core::ops::Gradients;
use panchroma_core::train::{AdamW, Group};
use panchroma_core::{Arrays, Forward, HeadOutput, Mode, Parameters, SUMS, TokenKind, Tokenizer};

/// Steps in which a codec has to get better at the objects of the test.
const STEPS: u64 = 40;

/// Loss after them, over that before.
const BETTER: f64 = 0.9;

impl Suite<'_> {
    pub(crate) fn a_codec_learns(&self) {
        let arrays = self.prepare(self.case.objects, Mode::Evaluate);
        self.nothing_to_learn_from(&arrays);
        self.evaluation_is_the_same_each_time(&arrays);
        self.told_again_on_a_grid_of_its_own(&arrays);
        self.training_helps(&arrays);
    }

    fn nothing_to_learn_from(&self, arrays: &Arrays) {
        let absent: Vec<usize> = (0..arrays.len()).filter(|i| !arrays.present[*i]).collect();
        for which in [absent.as_slice(), &[]] {
            let none = self.prepare(&self.case.objects.select(which), Mode::Evaluate);
            let output = learn(&*self.tokenizer, &none, &Forward::evaluate());
            let loss = output.loss.map_or(0.0, |loss| scalar(&loss));
            assert_eq!(loss, 0.0, "a batch of absent objects has a loss of {loss}");
        }
    }

    fn evaluation_is_the_same_each_time(&self, arrays: &Arrays) {
        let all = |output: &HeadOutput| {
            let own = output.loss.iter().chain(output.metrics.values()).chain(output.predictions.values());
            own.flat_map(|t| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap_or_else(|e| panic!("{e}")))
                .map(f32::to_bits)
                .collect::<Vec<u32>>()
        };
        let [first, second] = [(); 2].map(|()| learn(&*self.tokenizer, arrays, &Forward::evaluate()));
        assert!(first.loss.is_some(), "objects that are there have a loss");
        assert_eq!(all(&first), all(&second), "a loss of the same objects differs");
        for (name, metric) in &first.metrics {
            assert!(metric.dims().is_empty() && scalar(metric).is_finite(), "metric `{name}` is no finite scalar");
        }
        for (name, sums) in first.predictions.iter().filter(|(name, _)| name.starts_with(SUMS)) {
            assert_eq!(sums.dims(), [arrays.len(), 2], "`{name}` is a sum and its divisor for each object");
            let sums = sums.to_vec2::<f32>().unwrap_or_else(|e| panic!("{e}"));
            for (object, own) in sums.iter().enumerate() {
                assert!(own[0].is_finite() && own[1] >= 0.0, "`{name}` of object {object} is {own:?}");
                assert!(arrays.present[object] || *own == [0.0, 0.0], "`{name}` of absent object {object} is {own:?}");
            }
        }
    }

    fn told_again_on_a_grid_of_its_own(&self, arrays: &Arrays) {
        let TokenKind::Codes { .. } = self.tokenizer.spec().kind else { panic!("a codec gives codes") };
        let back = self.tokenizer.reconstruct(&self.tokenize(arrays), None, &Forward::evaluate());
        let Some(back) = back.unwrap_or_else(|e| panic!("reconstruct: {e}")) else { panic!("a codec reconstructs") };
        back.check("test", &self.spec).unwrap_or_else(|e| panic!("reconstruct: {e}"));
        assert_eq!(back.present, arrays.present, "reconstruct keeps `present`");
    }

    /// With weights of its own, so that the suite's stay those of the beginning.
    fn training_helps(&self, arrays: &Arrays) {
        let parameters = Parameters::new(0, &Device::Cpu);
        let mut codec = build_with(self.case.tokenizer, &self.spec, &parameters);
        codec.restore(&self.tokenizer.fitted()).unwrap_or_else(|e| panic!("{e}"));
        let before = self.tokenize(arrays);
        let all = parameters.all();
        assert!(!all.is_empty(), "a codec that learns has parameters");
        let groups = vec![Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.0 }];
        let mut optimizer = AdamW::new(all.clone(), groups, [0.9, 0.95], 1e-8);
        let mut gradients = Gradients::new(&all).unwrap_or_else(|e| panic!("{e}"));
        let mut losses = Vec::new();
        for step in 0..STEPS {
            let output = learn(&*codec, arrays, &Forward { mode: Mode::Train, seed: 1, step });
            let Some(loss) = output.loss else { panic!("objects that are there have a loss") };
            losses.push(scalar(&loss));
            gradients.clear();
            gradients.backward(&loss).unwrap_or_else(|e| panic!("backward: {e}"));
            if step == 0 {
                for (number, (name, _)) in all.iter().enumerate() {
                    let own = gradients.to_host(number).unwrap_or_else(|e| panic!("{e}"));
                    let any = own.is_some_and(|own| own.iter().any(|g| g.abs() > 0.0));
                    assert!(any, "parameter `{name}` got no gradient");
                }
            }
            optimizer.step(&gradients, 3e-3, Some(1.0)).unwrap_or_else(|e| panic!("step: {e}"));
        }
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
        assert!(last < BETTER * first, "{STEPS} steps took the loss from {first} to {last}");
        let order: Vec<usize> = (0..before.len()).collect();
        let again = self.tokenize(arrays);
        let [before, again] = [before, again].map(|tokens| tokens_bits(&tokens));
        same_rows("another codec has learned", &again, &before, &order);
    }
}

fn learn(codec: &dyn Tokenizer, arrays: &Arrays, context: &Forward) -> HeadOutput {
    codec.learn(arrays, context).unwrap_or_else(|e| panic!("learn: {e}"))
}

fn scalar(tensor: &candle_core::Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().unwrap_or_else(|e| panic!("{e}")))
}
