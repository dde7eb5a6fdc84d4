// Runs in the sound's own thread: gathers samples and hands them over in pieces of 16-bit numbers.

const METER_S = 0.2;

class Recorder extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.piece = new Int16Array(Math.round(processorOptions.seconds * sampleRate));
    this.filled = 0;
    this.peak = 0;
    this.metered_s = currentTime;
    this.port.onmessage = () => this.hand(true);
  }

  process([[samples]]) {
    if (samples) for (const sample of samples) this.take(sample);
    if (currentTime - this.metered_s >= METER_S) this.meter();
    return true;
  }

  take(sample) {
    const bounded = Math.max(-1, Math.min(1, sample));
    this.peak = Math.max(this.peak, Math.abs(bounded));
    this.piece[this.filled++] = Math.round(bounded * 32767);
    if (this.filled === this.piece.length) this.hand(false);
  }

  hand(isLast) {
    const samples = this.piece.slice(0, this.filled);
    this.filled = 0;
    const end_s = currentTime + 128 / sampleRate;
    this.port.postMessage({ samples, end_s, isLast }, [samples.buffer]);
  }

  meter() {
    this.port.postMessage({ peak: this.peak });
    this.peak = 0;
    this.metered_s = currentTime;
  }
}

registerProcessor("recorder", Recorder);
