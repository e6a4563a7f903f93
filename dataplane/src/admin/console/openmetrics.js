// Reads the OpenMetrics text format, as far as this server writes it, into samples that can be asked for.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { n: "\n", '"': '"', "\\": "\\" };

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of (text ?? "").matchAll(LABEL)) {
    labels[name] = value.replace(/\\(.)/g, (_, escaped) => ESCAPED[escaped] ?? escaped);
  }
  return labels;
}

/** The samples of one scrape, and when it was made. */
export class Scrape {
  constructor(text, at) {
    this.at = at;
    this.byName = new Map();
    for (const line of text.split("\n")) {
      const found = line.startsWith("#") ? null : SAMPLE.exec(line);
      if (!found) continue;
      const [, name, labels, value] = found;
      if (!this.byName.has(name)) this.byName.set(name, []);
      this.byName.get(name).push({ labels: labelsOf(labels), value: Number(value) });
    }
  }

  has(name) {
    return this.byName.has(name);
  }

  /** The samples of `name` whose labels are among those wanted: `{ cache: ["hit", "peer"] }`. */
  all(name, wanted = {}) {
    const fits = ({ labels }) => Object.entries(wanted).every(([label, values]) => values.includes(labels[label]));
    return (this.byName.get(name) ?? []).filter(fits);
  }

  /** Their sum; 0 where there are none. */
  sum(name, wanted) {
    return this.all(name, wanted).reduce((sum, { value }) => sum + value, 0);
  }

  /** The values that `label` has in samples of `name`. */
  values(name, label) {
    return [...new Set(this.all(name).map(({ labels }) => labels[label]))].sort();
  }
}

/** What happened between two scrapes of one process. */
export class Span {
  constructor(before, after) {
    this.before = before;
    this.after = after;
    this.seconds = Math.max((after.at - before.at) / 1000, 0.001);
  }

  isEmpty() {
    return this.before === this.after;
  }

  /** By how much a counter grew; a process that was started anew counts from 0. */
  grew(name, wanted) {
    const [before, after] = [this.before.sum(name, wanted), this.after.sum(name, wanted)];
    return after >= before ? after - before : after;
  }

  perSecond(name, wanted) {
    return this.grew(name, wanted) / this.seconds;
  }

  /** The upper bound of the bucket in which the quantile `q` of a histogram's new observations lies; null where there are none. */
  quantile(name, q, wanted = {}) {
    const bounds = this.after.values(`${name}_bucket`, "le").map(Number).sort((a, b) => a - b);
    const grewTo = (le) => {
      const among = (scrape) =>
        scrape.all(`${name}_bucket`, wanted).filter(({ labels }) => Number(labels.le) === le)
          .reduce((sum, { value }) => sum + value, 0);
      return Math.max(among(this.after) - among(this.before), 0);
    };
    const counts = bounds.map((le) => ({ le, count: grewTo(le) }));
    const total = counts.at(-1)?.count ?? 0;
    return total === 0 ? null : counts.find(({ count }) => count >= q * total).le;
  }
}
