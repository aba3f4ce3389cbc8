"use strict";
// The data of the page and the values of its sliders → every number and chart.
// The formulas are those of objective.py, applied to the sums of totals.py; a number that does not exist is null, never 0.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const grid = data.grid;
  const at = data.at.slice(); // indices in the grid: B, β, α
  const DRAWN = 1500; // points of a scatter plot
  const ROWS = 20; // of the table of prompts
  const REWARD = "#2f7fc1";
  const LENGTH = "#c46a12";

  // ---- numbers

  const finite = (value) => (Number.isFinite(value) ? value : null);
  const when = (condition, value) => (condition ? finite(value) : null);
  const clear = (value, terms, dust) => (value <= dust * terms ? 0 : value); // what rounding leaves of a sum that cancels is 0

  // Numbers of two doubles each, [hi, lo], as in double_double.py: what cancels leaves digits that are true.
  const known = (x) => x ?? NaN; // null is a sum beyond the range of a double
  const both = (x) => (Array.isArray(x) ? [known(x[0]), known(x[1])] : [known(x), 0]);
  const normal = (hi, lo) => [hi + lo, lo - (hi + lo - hi)];
  const half = (a) => 134217729 * a - (134217729 * a - a);
  const two = (x) => known(x[0]) + known(x[1]);

  function plus(x, y) {
    const [a, b] = [both(x), both(y)];
    const hi = a[0] + b[0];
    const part = hi - a[0];
    return normal(hi, a[0] - (hi - part) + (b[0] - part) + (a[1] + b[1]));
  }

  function times(x, y) {
    const [a, b] = [both(x), both(y)];
    const hi = a[0] * b[0];
    const [m, n] = [half(a[0]), half(b[0])];
    const lost = m * n - hi + m * (b[0] - n) + (a[0] - m) * n + (a[0] - m) * (b[0] - n);
    return normal(hi, (Number.isFinite(lost) ? lost : 0) + (a[0] * b[1] + a[1] * b[0]));
  }

  const adjusted = (rr, re, ee, beta) => plus(plus(rr, times(-2 * beta, re)), times(times(beta, beta), ee));

  /** Returns ΣA², Σ(A − α·k)² and their difference, from sums `m` at the budget i and Σk². */
  function forms(m, i, beta, alpha, kk, dust = 1e-24) {
    const a2 = times(alpha, alpha);
    const square = adjusted(m.rr, m.re[i], m.ee[i], beta);
    const explained = plus(times(2 * alpha, plus(m.rk, times(-beta, m.ek[i]))), times(times(-1, a2), kk));
    const terms = two(both(m.rr)) + two(times(times(beta, beta), m.ee[i]));
    const loss = plus(square, times(-1, explained));
    return {
      square: clear(two(square), terms, dust),
      loss: clear(two(loss), terms + two(times(a2, kk)), dust),
      explained: two(explained),
    };
  }

  /** Returns the loss, its components and the excess over the budget, from totals `t` of the dump or a part of it. */
  function main(t, [i, j, k]) {
    const beta = grid.budget_penalty_coef[j];
    const alpha = grid.kl_coef[k];
    const { mean: m, whole: w } = t;
    const adjustable = data.budgeted || beta === 0;
    const there = adjustable && (data.with_k || alpha === 0);
    const b2 = beta * beta;
    let { square, loss, explained } = forms(m, i, beta, alpha, plus(m.kk, m.k2));
    const [rr, ee] = [two(both(w.rr)), two(both(w.ee[i]))];
    let share = (b2 * ee) / (rr + b2 * ee);
    let phantoms = w.re === undefined ? null : (b2 * t.phantom_ee[i]) / two(adjusted(w.rr, w.re[i], w.ee[i], beta));
    if (t.estimated !== null) { // of a part, there is only one β
      const at = t.estimated.square[i].length === 1 && j === data.at[1] ? 0 : j;
      square = t.estimated.square[i][at];
      explained = 2 * alpha * t.estimated.with_k[i][at] - alpha * alpha * two(plus(m.kk, m.k2));
      loss = square - explained;
      share = t.estimated.share[i][at];
      phantoms = t.estimated.phantom_share[i][at];
    }
    return {
      loss: when(there, loss),
      "advantage.mean_square": when(adjustable, square),
      "advantage.budget_share": when(adjustable, share),
      "advantage.phantom_share": when(adjustable, phantoms),
      "kl.r2": when(there && data.with_k && square !== 0, loss === 0 ? 1 : explained / square),
      "over_budget.responses": when(data.budgeted, t.over[i]),
      "over_budget.fraction": when(data.budgeted, t.over[i] / t.responses),
    };
  }

  /** Returns every number that depends on the coefficients by its dotted name, from totals `t` of the dump. */
  function numbers(t, [i, j, k]) {
    const beta = grid.budget_penalty_coef[j];
    const { whole: w, spread: s } = t;
    const adjustable = data.budgeted || beta === 0;
    const variance = two(adjusted(plus(w.rr, s.rr), plus(w.re[i], s.re[i]), plus(w.ee[i], s.ee[i]), beta));
    return {
      ...main(t, [i, j, k]),
      "coefficients.token_budget": grid.token_budget[i],
      "coefficients.budget_penalty_coef": beta,
      "coefficients.kl_coef": grid.kl_coef[k],
      "adjusted_reward.mean": when(adjustable, two(plus(t.reward_mean, times(-beta, t.penalty_mean[i])))),
      "adjusted_reward.std": when(adjustable, Math.sqrt(Math.max(variance, 0) / t.responses)),
      "over_budget.excess_tokens": when(data.budgeted, t.excess_tokens[i]),
      "over_budget.excess_mean": when(data.budgeted && t.over[i] > 0, t.excess_tokens[i] / t.over[i]),
      "groups.zero_variance_adjusted": when(adjustable, t.zero_variance_adjusted[i][j]),
      "groups.phantom": when(adjustable, t.phantom[i][j]),
      "groups.reordered": when(adjustable && beta >= 0 && !t.unordered, t.reordered[i][j]),
    };
  }

  // ---- the objective: what objective/penalties.py and estimators.py say of single prompts

  const objective = data.objective;

  /** Returns the penalty of each sampled response to a prompt, before β, at the budget i. */
  function penalties(p, i) {
    const shape = objective.shapes[i];
    if (shape === null) return p.length.map(() => 0);
    const rate = p.reward.filter((r) => r > objective.correct_above).length / p.reward.length;
    const floor = objective.scale_floor === "1/n" ? 1 / p.reward.length : objective.scale_floor;
    let weight = objective.scale === "none" ? 1 : Math.max(rate, floor);
    if (objective.gate !== null && rate < objective.gate) weight = 0;
    return p.length.map((length, n) => {
      const penalised = objective.penalize === "all" || p.reward[n] > objective.correct_above;
      const terms = shape.terms.reduce((sum, [t, c]) => sum + c * Math.max(0, length - t), shape.constant);
      return length === null || !penalised ? 0 : weight * terms || 0;
    });
  }

  /** Returns [factor, shift]: the advantages of a prompt of n responses are factor·(x − x̄) + shift. */
  function advantageOf({ n, mean, scatter, gap }, batch) {
    const deviation = (sum, count) => Math.sqrt(sum / (count > objective.ddof ? count - objective.ddof : count));
    const inverse = (x) => (x + objective.eps === 0 ? 0 : 1 / (x + objective.eps));
    if (n === 1 && objective.singletons === "reward") return [1, objective.divides ? mean / (1 + objective.eps) : mean];
    const whole = () => inverse(deviation(batch.scatter, batch.n));
    switch (objective.advantage) {
      case "rloo": return [n > 1 ? n / (n - 1) : 1, 0];
      case "grpo": return [inverse(deviation(scatter, n)), 0];
      case "batch-std": return [inverse(deviation(batch.within, batch.n)), 0];
      case "maxrl": return [inverse(mean), 0];
      case "opo": return [1, -gap];
      case "reinforce++": return [whole(), whole() * (mean - batch.mean)];
      default: return [1, 0];
    }
  }

  /** Returns the sums over all responses that an estimator may need. */
  function batchAt([i, j]) {
    const { whole: w, spread: s, responses: n } = data.totals;
    const beta = grid.budget_penalty_coef[j];
    return {
      n,
      mean: two(plus(data.totals.reward_mean, times(-beta, data.totals.penalty_mean[i]))),
      scatter: Math.max(0, two(adjusted(plus(w.rr, s.rr), plus(w.re[i], s.re[i]), plus(w.ee[i], s.ee[i]), beta))),
      within: Math.max(0, two(adjusted(w.rr, w.re[i], w.ee[i], beta))),
    };
  }

  /** Returns the numbers of one prompt, from its moments. */
  function promptNumbers(p, [i, j, k]) {
    const beta = grid.budget_penalty_coef[j];
    const alpha = grid.kl_coef[k];
    const b2 = beta * beta;
    let { square, loss } = forms(p, i, beta, alpha, p.kk, 1e-22); // of 25 digits
    let offset = alpha * p.k_mean;
    if (!objective.is_plain) {
      const gap = p.r_gap.length ? p.r_gap[i] - beta * p.p_gap[i] : 0;
      const [f, shift] = advantageOf({ n: p.n, mean: p.r_mean - beta * p.e_mean[i], scatter: square, gap }, batchAt([i, j]));
      const withK = two(plus(p.rk, times(-beta, p.ek[i])));
      loss = Math.max(0, f * f * square - 2 * alpha * f * withK + alpha * alpha * two(p.kk));
      square = f * f * square + p.n * shift * shift;
      offset -= shift;
    }
    const [rr, ee] = [two(p.rr), two(p.ee[i])];
    const share = (b2 * ee) / (rr + b2 * ee);
    return {
      id: p.prompt_id,
      n: p.n,
      reward: p.r_mean,
      loss: finite(loss / p.n + offset ** 2),
      square: finite(square / p.n),
      share: finite(share),
      over: data.budgeted ? p.over[i] : null,
      length: p.length_max,
      phantom: p.n > 1 && rr === 0 && b2 * ee > 0,
      place: p.place,
      text: p.text,
    };
  }

  // ---- the verdict in a sentence: that of rendering/headline.py, to the letter

  /** Returns a share in whole percent, an exact half to the even one, as Python does. */
  function wholePercent(share) {
    const [x, near] = [100 * share, Math.round(100 * share)];
    return `${x % 1 === 0.5 && near % 2 === 1 ? near - 1 : near}%`;
  }

  /** Returns two significant digits as Python's `.2g` writes them. */
  function twoDigits(x) {
    const [digits, power] = x.toExponential(1).split("e");
    const exponent = Number(power);
    if (exponent >= -4 && exponent < 2) return String(Number(x.toPrecision(2)));
    return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }

  const named = (n, of) => `${format.whole(n)} of ${format.whole(of)}`;
  const teach = (n) => (n === 1 ? "teaches" : "teach");

  /** Returns how much of the learning signal comes from length, at the numbers `v` of the sliders. */
  function signalSaid(v, of, beyond) {
    const [beta, share] = [v["coefficients.budget_penalty_coef"], v["advantage.budget_share"]];
    const one = of.prompts === 1;
    const signal = beyond ? "the learning signal within prompts" : "the learning signal";
    const alone = `${signal} is that of the rewards alone`;
    if (v["advantage.mean_square"] === null) {
      const missing = of.responses - of.with_length;
      let why = `as ${named(missing, of.responses)} responses ${missing === 1 ? "has" : "have"} no length`;
      if (v["coefficients.token_budget"] === null && !objective.has_own_budgets) why = "without a budget (-B TOKENS)";
      else if (!missing) return "the advantages exceed the range of a double";
      return `${why}, the share of length in the learning signal is not known`;
    }
    const equal = `within ${one ? "the only prompt" : "each prompt"}, all adjusted rewards are equal`;
    if (v["advantage.mean_square"] === 0) {
      const single = `${one ? "the only prompt has" : "every prompt has"} a single response`;
      return `nothing can be learned: ${of.prompts === of.singletons ? single : equal}`;
    }
    if (share === null) return `${equal}, so responses are told apart by their prompts alone`;
    if (beta === 0) return `β is 0, so ${alone}`;
    if (!v["over_budget.responses"] && objective.penalty !== "distance") return `no response is over the budget, so ${alone}`;
    if (share === 0) return `the penalty is the same for all responses to a prompt, so ${alone}`;
    if (share === 1) return `all of ${signal} is length, at any β above 0: within no prompt do rewards differ`;
    const percent = share < 0.005 ? "less than 1%" : share > 0.995 ? "more than 99%" : wholePercent(share);
    const said = `${percent} of ${signal} is length`;
    if (percent === "10%" || share <= 0.1 || ["grpo", "maxrl"].includes(objective.advantage)) return said;
    return `${said}; β ${twoDigits(beta * Math.sqrt(((0.1 / (1 - 0.1)) * (1 - share)) / share))} would make it 10%`;
  }

  /** Returns how many prompts teach length alone, and how many nothing; "" if it is none, or said already. */
  function promptsSaid(v, of, beyond) {
    const [equal, phantom] = [v["groups.zero_variance_adjusted"], v["groups.phantom"]];
    if (equal === null || phantom === null || beyond) return "";
    const nothing = equal + of.singletons;
    const parts = [[phantom, "length alone"], [nothing, "nothing"]].filter(([n]) => n > 0);
    if (parts.length === 0 || nothing === of.prompts || of.prompts === 1) return "";
    const [[n, what]] = parts;
    if (parts.length === 1) return `${named(n, of.prompts)} prompts ${teach(n)} ${what}`;
    return `of ${format.whole(of.prompts)} prompts, ${format.whole(n)} ${teach(n)} ${what} and ${format.whole(nothing)} nothing`;
  }

  /** Returns why there is no loss, if only log-probs are missing. */
  function lossSaid(v, of) {
    if (v.loss !== null || v["advantage.mean_square"] === null) return "";
    const missing = of.responses - of.with_log_ratio;
    if (!missing) return "the loss exceeds the range of a double";
    return `there is no loss, as ${named(missing, of.responses)} responses ${missing === 1 ? "has" : "have"} no log-ratio`;
  }

  function verdict(v) {
    const of = data.counts;
    const beyond = objective.advantage === "reinforce++" || (objective.singletons !== "zero" && of.singletons > 0);
    let said = [signalSaid(v, of, beyond), promptsSaid(v, of, beyond), lossSaid(v, of)].filter((part) => part !== "").join("; ");
    if (of.rejected) said = `${named(of.rejected, of.read)} records ${of.rejected === 1 ? "is" : "are"} rejected; of the others, ${said}`;
    return `${said[0] === "β" ? said[0] : said[0].toUpperCase()}${said.slice(1)}.`;
  }

  // ---- text

  const format = {
    whole: (x) => x.toLocaleString("en", { maximumFractionDigits: 0 }),
    tenths: (x) => x.toLocaleString("en", { maximumFractionDigits: 1 }),
    percent: (x) => `${(100 * x).toFixed(1)}%`,
    number: (x) =>
      Math.abs(x) >= 1e6 || (x !== 0 && Math.abs(x) < 1e-4)
        ? x.toExponential(4)
        : x.toLocaleString("en", { minimumFractionDigits: 4, maximumFractionDigits: 4 }),
    short: (x) => (x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential().replace(/(\.\d{3})\d+/, "$1") : String(Number(x.toPrecision(4)))),
  };
  const shown = (kind, x) => (x === null || x === undefined ? "–" : format[kind](x));

  function write(values) {
    for (const cell of document.querySelectorAll("[data-number]")) {
      const name = cell.dataset.number;
      if (!(name in values)) continue;
      cell.textContent = shown(cell.dataset.kind, values[name]);
      cell.dataset.value = values[name] === null ? "null" : String(values[name]);
    }
  }

  const KINDS = { n: "whole", loss: "number", reward: "number", square: "number", share: "percent", over: "whole", length: "whole" };
  const TITLES = Object.fromEntries([...document.querySelectorAll("[data-column]")].map((e) => [e.dataset.column, e.textContent]));
  const table = { by: "loss", falling: true, sought: "", all: false };

  /** Compares two prompts in the order of the table; what has no number comes last. */
  function ordered(p, q) {
    const [x, y] = [p[table.by], q[table.by]];
    if (x === null || y === null) return (x === null) - (y === null);
    const rising = table.by === "id" || table.by === "place" ? String(x).localeCompare(String(y), "en", { numeric: true }) : x - y;
    return table.falling ? -rising : rising;
  }

  function writePrompts() {
    const found = data.prompts.filter((p) => String(p.prompt_id).toLowerCase().includes(table.sought));
    const ranked = found.map((p) => promptNumbers(p, at)).sort(ordered);
    const shownRows = table.all ? ranked : ranked.slice(0, ROWS);
    document.getElementById("listed").textContent = `${format.whole(shownRows.length)} of ${format.whole(data.prompts.length)}`;
    const fold = document.getElementById("fold");
    fold.hidden = ranked.length <= ROWS;
    fold.textContent = table.all ? `show ${ROWS}` : `show all ${ranked.length}`;
    fold.setAttribute("aria-expanded", String(table.all));
    document.querySelector("#prompts tbody").replaceChildren(
      ...shownRows.map((p) => {
        const row = document.createElement("tr");
        const head = document.createElement("th");
        head.scope = "row";
        if (Number.isInteger(p.text)) {
          const link = document.createElement("button");
          link.type = "button";
          link.className = "link";
          link.title = "what it says";
          link.textContent = String(p.id);
          link.addEventListener("click", () => unfold(p.text));
          head.append(link);
        } else head.textContent = String(p.id);
        row.append(head);
        for (const [name, kind] of Object.entries(KINDS)) {
          const cell = document.createElement("td");
          cell.textContent = shown(kind, p[name]);
          cell.dataset.label = TITLES[name];
          row.append(cell);
        }
        const last = document.createElement("td");
        last.textContent = p.phantom ? "phantom" : "";
        const where = document.createElement("td");
        where.textContent = p.place ?? "";
        where.dataset.label = TITLES.place;
        last.dataset.label = TITLES.phantom;
        row.append(last, where);
        return row;
      }),
    );
  }

  /** Unfolds the texts of a prompt, and moves there. */
  function unfold(number) {
    const texts = document.getElementById(`text-${number}`);
    texts.open = true;
    texts.querySelector("summary").focus();
    texts.scrollIntoView({ block: "start" });
  }

  for (const button of document.querySelectorAll("[data-column]")) {
    button.addEventListener("click", () => {
      const { column } = button.dataset;
      table.falling = column === table.by ? !table.falling : column !== "id" && column !== "place";
      table.by = column;
      for (const head of document.querySelectorAll("#prompts thead th")) head.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", table.falling ? "descending" : "ascending");
      writePrompts();
    });
  }
  document.getElementById("find").addEventListener("input", (event) => {
    table.sought = event.target.value.trim().toLowerCase();
    writePrompts();
  });
  document.getElementById("fold").addEventListener("click", () => {
    table.all = !table.all;
    writePrompts();
  });

  // ---- charts

  const responses = data.sample.flatMap((p) => {
    const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
    const r = mean(p.reward);
    return p.reward.map((reward, n) => ({ prompt: p, n, id: String(p.prompt_id), reward, centred: reward - r, length: p.length[n] }));
  });

  /** Returns the sampled responses with their adjusted rewards and advantages. */
  function sampled() {
    const budget = grid.token_budget[at[0]];
    const beta = grid.budget_penalty_coef[at[1]];
    const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
    const batch = data.totals === null ? null : batchAt(at);
    for (const p of data.sample) {
      p.penalty = penalties(p, at[0]);
      p.mean = mean(p.penalty);
      const x = p.reward.map((r, n) => r - beta * p.penalty[n]);
      const own = { n: x.length, mean: mean(x), scatter: x.reduce((sum, each) => sum + (each - mean(x)) ** 2, 0) };
      const tokens = p.length.reduce((sum, length) => sum + length, 0);
      own.gap = tokens ? x.reduce((sum, each, n) => sum + each * p.length[n], 0) / tokens - own.mean : 0;
      [p.factor, p.shift] = objective.is_plain ? [1, 0] : advantageOf(own, batch);
    }
    return responses.map((one) => {
      const e = one.prompt.penalty[one.n];
      const byLength = -beta * one.prompt.factor * (e - one.prompt.mean) || 0;
      const centred = one.centred * one.prompt.factor;
      return {
        id: one.id, length: one.length, over: budget !== null && one.length > budget, adjusted: one.reward - beta * e,
        reward: one.reward, centred, byLength, advantage: centred + byLength + one.prompt.shift,
      };
    });
  }

  function bins(values, count) {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const width = (high - low || 1) / count;
    const rows = Array.from({ length: count }, (_, n) => ({ lo: low + n * width, hi: low + (n + 1) * width, count: 0 }));
    for (const x of values) rows[Math.min(count - 1, Math.floor((x - low) / width))].count += 1;
    return rows;
  }

  const counted = (c) => c.counts.map((count, n) => ({ lo: c.first + n * c.width, hi: c.first + (n + 1) * c.width, count }));
  const counts = { labelExpr: "datum.value % 1 ? '' : format(datum.value, ',')", tickCount: 5 };
  const real = ",.4~f";
  const bars = (title, of, format, color) => ({
    data: { name: "table" },
    mark: { type: "bar", binSpacing: 1 },
    encoding: {
      x: { field: "lo", bin: { binned: true }, title, axis: { format: ",~r", tickCount: 5 } },
      x2: { field: "hi" },
      y: { field: "count", type: "quantitative", title: of, axis: counts },
      color: color ?? { value: REWARD },
      tooltip: [{ field: "lo", title: "from", format }, { field: "hi", title: "to", format }, { field: "count", title: of, format: ",d" }],
    },
  });
  const overColor = {
    field: "over", type: "nominal", title: null,
    scale: { domain: [false, true], range: [REWARD, LENGTH] },
    legend: { orient: "top", labelExpr: "datum.value ? 'over the budget' : 'within the budget'" },
  };
  const rule = { data: { name: "budget" }, mark: { type: "rule", strokeWidth: 2, color: LENGTH }, encoding: { x: { field: "B", type: "quantitative" } } };
  const zero = { data: { values: [{ zero: 0 }] }, mark: { type: "rule", color: "#808890" } };
  const budgetRow = () => (grid.token_budget[at[0]] === null ? [] : [{ B: grid.token_budget[at[0]] }]);
  const points = (rows) => rows.slice(0, DRAWN);
  const dots = { type: "point", filled: true, size: 28, opacity: 0.9 };
  const ofResponse = (last) => [
    { field: "id", title: "prompt" }, { field: "length", title: "length, tokens", format: "," },
    { field: "reward", format: real }, { field: last, title: last === "adjusted" ? "adjusted reward" : last, format: real },
  ];
  const quantitative = (field, title, more) => ({ field, type: "quantitative", title, ...more });

  const some = (values, most) => values.filter((_, n) => n % Math.ceil(values.length / most) === 0);
  const rising = grid.budget_penalty_coef.filter((x) => x > 0).map(format.short).reverse();
  const decades = grid.budget_penalty_coef.filter((x) => x > 0 && Number.isInteger(Math.round(1e9 * Math.log10(x)) / 1e9)).map((x) => format.short(x));

  const signed = (x) => (x < 0 ? `−${-x}` : String(x));
  const most = Math.max(1, ...Object.values(data.log_ratios).flat());
  const tens = Array.from({ length: Math.ceil(Math.log10(most)) + 1 }, (_, n) => 10 ** n).filter((x) => x <= 2 * most);

  const charts = [
    {
      id: "lengths", there: data.lengths !== null,
      spec: { layer: [bars("length, tokens", "responses", ",", overColor), rule] },
      rows: () => ({
        table: counted(data.lengths).map((bin) => ({ ...bin, over: data.budgeted && bin.lo >= (grid.token_budget[at[0]] ?? Infinity) })),
        budget: budgetRow(),
      }),
    },
    {
      id: "against", there: data.budgeted && responses.length > 0,
      spec: {
        layer: [
          {
            data: { name: "table" }, mark: dots,
            encoding: {
              x: quantitative("length", "length, tokens", { axis: { format: ",~r", tickCount: 5 } }), y: quantitative("adjusted", "adjusted reward"), color: overColor,
              tooltip: ofResponse("adjusted"),
            },
          },
          rule,
        ],
      },
      rows: (sample) => ({ table: points(sample), budget: budgetRow() }),
    },
    { id: "rates", there: data.rates !== null, spec: bars("mean reward of a prompt", "prompts", real), rows: () => ({ table: counted(data.rates) }) },
    {
      id: "advantages", there: responses.length > 0,
      spec: { layer: [bars("advantage, in units of reward", "responses", real), { ...zero, encoding: { x: { field: "zero", type: "quantitative" } } }] },
      rows: (sample) => ({ table: bins(sample.map((one) => one.advantage), 41) }),
    },
    {
      id: "parts", there: data.budgeted && responses.length > 0,
      spec: {
        layer: [
          { ...zero, encoding: { x: { field: "zero", type: "quantitative" } } },
          { ...zero, encoding: { y: { field: "zero", type: "quantitative" } } },
          {
            data: { name: "table" }, mark: dots,
            encoding: {
              x: quantitative("centred", "reward part of the advantage", { axis: { tickCount: 5 } }), y: quantitative("byLength", "length part"), color: overColor,
              tooltip: ofResponse("advantage"),
            },
          },
        ],
      },
      rows: (sample) => ({ table: points(sample) }),
    },
    {
      id: "ratios", there: Object.keys(data.log_ratios).length > 0,
      spec: {
        data: { name: "table" }, mark: { type: "rect", opacity: 0.65 },
        encoding: {
          x: quantitative("lo", "log-ratio of a token, nats", { scale: { domain: [0, data.edges.length + 1], nice: false }, axis: { values: data.edges.map((_, n) => n + 1), labelExpr: `${JSON.stringify(data.edges.map(signed))}[datum.value - 1]`, labelOverlap: true, grid: false } }),
          x2: { field: "hi" },
          y: quantitative("count", "tokens", { stack: null, scale: { type: "symlog" }, axis: { values: [0, ...tens], format: ",d", labelOverlap: true } }),
          y2: { datum: 0 },
          color: { field: "whose", type: "nominal", sort: null, title: null, scale: { range: [REWARD, LENGTH] }, legend: { orient: "top" } },
          tooltip: [{ field: "whose", title: "log-ratio" }, { field: "from" }, { field: "to" }, { field: "count", title: "tokens", format: ",d" }],
        },
      },
      rows: () => ({
        table: Object.entries(data.log_ratios).flatMap(([whose, counts]) => counts.map((count, n) => ({
          whose, count, lo: n, hi: n + 1, from: n ? signed(data.edges[n - 1]) : "−∞", to: n < data.edges.length ? signed(data.edges[n]) : "∞",
        }))),
      }),
    },
    {
      id: "share", there: data.budgeted,
      spec: {
        layer: [
          {
            data: { name: "table" }, mark: { type: "rect", color: LENGTH },
            encoding: {
              x: { field: "B", type: "ordinal", title: "budget, tokens", scale: { domain: grid.token_budget }, axis: { values: some(grid.token_budget, 6), labelAngle: 0, format: ",", formatType: "number", labelOverlap: true } },
              y: { field: "beta", type: "ordinal", title: "β, reward per token", scale: { domain: rising }, axis: { values: decades } },
              opacity: { field: "share", type: "quantitative", title: null, scale: { domain: [0, 1], range: [0.04, 1] }, legend: { format: ".0%", values: [0, 0.5, 1], orient: "top", symbolType: "square", symbolFillColor: LENGTH, symbolStrokeColor: LENGTH, symbolStrokeWidth: 1 } },
              tooltip: [{ field: "B", title: "budget, tokens", type: "quantitative", format: "," }, { field: "beta", title: "β" }, { field: "share", format: ".1%", title: "from length" }],
            },
          },
          ...[["#ffffff", 5], ["#10151c", 2.5]].map(([color, strokeWidth]) => ({ // seen on any shade
            data: { name: "here" }, mark: { type: "point", shape: "circle", size: 110, strokeWidth, color },
            encoding: { x: { field: "B", type: "ordinal" }, y: { field: "beta", type: "ordinal" } },
          })),
        ],
      },
      rows: () => {
        const table = [];
        grid.token_budget.forEach((B, i) => grid.budget_penalty_coef.forEach((beta, j) => {
          if (beta > 0) table.push({ B, beta: format.short(beta), share: main(data.totals, [i, j, at[2]])["advantage.budget_share"] });
        }));
        const [i, j] = at;
        const here = grid.budget_penalty_coef[j] > 0 ? [{ B: grid.token_budget[i], beta: format.short(grid.budget_penalty_coef[j]) }] : [];
        return { table, here };
      },
    },
    {
      id: "rewards", there: data.parts.length > 1, spec: trend(".3~g", "reward"),
      rows: () => ({ table: along([["reward", "reward"], ...(data.budgeted ? [["adjusted", "with the penalty"]] : [])]) }),
    },
    {
      id: "tokens", there: data.parts.some((part) => part.length !== null), spec: trend(",~r", "tokens"),
      rows: () => ({ table: along([["length", "mean length"]]) }),
    },
    {
      id: "divergence", there: data.parts.some((part) => part.k1 !== null), spec: trend(".3~g", "nats"),
      rows: () => ({ table: along([["k1", "k1 = mean k"], ["k3", "k3 = mean e^−k − 1 + k"]]) }),
    },
    {
      id: "trend", there: data.parts.length > 1, spec: trend(".3~g", "squared reward"),
      rows: () => ({ table: along([["loss", "loss"], ["advantage.mean_square", "mean A²"]]) }),
    },
    {
      id: "shares", there: data.parts.length > 1, spec: trend(".0%", "share"),
      rows: () => ({ table: along([["advantage.budget_share", "from length"], ["over_budget.fraction", "over the budget"]]) }),
    },
  ];

  function trend(numberFormat, unit) {
    return {
      data: { name: "table" }, mark: data.in_order ? { type: "line", point: true } : { type: "point", filled: true, size: 60 },
      encoding: {
        x: { field: "label", type: "ordinal", sort: null, title: null, axis: { values: some(data.parts.map((part) => part.label), 5), labelAngle: 0, labelLimit: 80, labelOverlap: true } },
        y: { field: "value", type: "quantitative", title: unit, axis: { format: numberFormat, tickCount: 5 } },
        tooltip: [{ field: "label", title: "of" }, { field: "what", title: "number" }, { field: "value", format: numberFormat === ".0%" ? ".1%" : ".4~g" }],
        color: { field: "what", type: "nominal", sort: null, title: null, scale: { range: [REWARD, LENGTH] }, legend: { orient: "top" } },
      },
    };
  }

  const along = (names) =>
    data.parts.flatMap((part) => {
      const beta = grid.budget_penalty_coef[at[1]];
      const { reward, length, k1, k3 } = part;
      const adjusted = reward === null || beta === 0 ? reward : reward - beta * part.totals.penalty[at[0]];
      const values = { ...main(part.totals, at), reward, adjusted, length, k1, k3 };
      return names.map(([name, what]) => ({ label: part.label, what, value: values[name] }));
    });

  const views = new Map();

  async function draw() {
    const sample = sampled();
    for (const chart of charts) {
      const figure = document.getElementById(`figure-${chart.id}`);
      if (!figure) continue;
      if (data.totals === null || !chart.there) {
        figure.hidden = true;
        continue;
      }
      const rows = chart.rows(sample);
      const label = figure.querySelector("figcaption strong").textContent;
      const spec = {
        $schema: "https://vega.github.io/schema/vega-lite/v6.json",
        width: "container", height: 220, autosize: { type: "fit", contains: "padding" },
        description: label, datasets: rows, ...chart.spec,
        config: { background: null, view: { stroke: null }, font: getComputedStyle(document.body).fontFamily, axis: { gridOpacity: 0.5, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8, labelFlush: false, labelPadding: 5 }, legend: { labelFontSize: 12, offset: 12 } },
      };
      const { view } = await vegaEmbed(figure.querySelector(".picture"), spec, { actions: false, renderer: "svg", ast: true, tooltip: { theme: "custom" } });
      views.set(chart.id, view);
    }
  }

  function redraw() {
    const sample = sampled();
    for (const chart of charts) {
      const view = views.get(chart.id);
      if (!view || chart.id === "rates" || chart.id === "ratios") continue;
      for (const [name, rows] of Object.entries(chart.rows(sample))) {
        if (chart.id === "share" && name === "table") continue;
        view.data(name, rows);
      }
      view.runAsync();
    }
  }

  // ---- sliders

  const sliders = [["token_budget", 0], ["budget_penalty_coef", 1], ["kl_coef", 2]].map(([name, axis]) => ({
    input: document.getElementById(name), output: document.getElementById(`${name}-value`), values: grid[name], axis, name,
  }));

  function label(slider) {
    const value = slider.values[at[slider.axis]];
    const unit = { token_budget: "tokens", budget_penalty_coef: "reward per token", kl_coef: "reward per nat" }[slider.name];
    const text = value === null ? "none" : slider.name === "token_budget" ? format.whole(value) : format.short(value);
    slider.output.textContent = text;
    slider.input.setAttribute("aria-valuetext", `${text} ${unit}`);
  }

  function update() {
    if (data.totals === null) return;
    const values = numbers(data.totals, at);
    write(values);
    document.getElementById("verdict").textContent = verdict(values).replace(/β (?=[-\d])/g, "β\u00a0");
    document.documentElement.dataset.moved = at.some((place, axis) => place !== data.at[axis]) ? "yes" : "no";
    writePrompts();
    for (const slider of sliders) label(slider);
    const given = [];
    if (values["coefficients.token_budget"] !== null) given.push(`-B ${values["coefficients.token_budget"]}`);
    given.push(`--budget-penalty-coef ${values["coefficients.budget_penalty_coef"]}`, `--kl-coef ${values["coefficients.kl_coef"]}`);
    document.getElementById("command").textContent = `${data.command} ${given.join(" ")}`;
  }

  // ---- a link that holds the places of the sliders, as #B=1024&beta=0.01&alpha=0.1

  const IN_LINK = ["B", "beta", "alpha"];

  /** Moves to the values of the link; one that is no value of its slider leaves it where the command put it. */
  function followLink() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const slider of sliders) {
      const place = slider.values.findIndex((value) => String(value) === asked.get(IN_LINK[slider.axis]));
      at[slider.axis] = place >= 0 ? place : data.at[slider.axis];
      slider.input.value = String(at[slider.axis]);
    }
  }

  /** Writes the link once the sliders rest, in place of the last one, so that "back" leaves the page. */
  function writeLink() {
    const away = at.some((place, axis) => place !== data.at[axis]);
    const link = sliders.filter(({ values }) => values.length > 1).map(({ values, axis }) => `${IN_LINK[axis]}=${values[at[axis]]}`);
    try {
      history.replaceState(null, "", away ? `#${link.join("&")}` : location.pathname + location.search);
    } catch {
      // a browser may refuse it for a file, or too many in a row: then there is no link
    }
  }

  let resting = 0;
  let waiting = false;
  function moved() {
    for (const slider of sliders) at[slider.axis] = Number(slider.input.value);
    show();
    clearTimeout(resting);
    resting = setTimeout(writeLink, 200);
  }

  function show() {
    update();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      redraw();
    });
  }

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => each.setAttribute("open", "")));
  for (const slider of sliders) {
    slider.input.max = String(slider.values.length - 1);
    slider.input.closest(".slider").hidden = slider.values.length < 2;
    slider.input.addEventListener("input", moved);
  }
  document.getElementById("reset").addEventListener("click", () => {
    for (const slider of sliders) slider.input.value = String(data.at[slider.axis]);
    moved();
  });
  const copy = document.getElementById("copy");
  copy.addEventListener("click", async () => {
    const code = document.getElementById("command");
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "copied";
    } catch { // from a file or without permission
      getSelection().selectAllChildren(code);
      copy.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl+C";
    }
    setTimeout(() => { copy.textContent = "copy"; }, 3000);
  });
  addEventListener("hashchange", () => {
    followLink();
    show();
  });
  followLink();
  update();
  draw().then(() => document.documentElement.setAttribute("data-drawn", "yes"));
})();
