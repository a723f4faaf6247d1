"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const table = document.getElementById("board");
  const body = table.querySelector(".methods");
  const rows = $("tr", body);
  const order = new Map(rows.map((row, index) => [row, index]));
  const charts = [];
  let picked = null;

  // Sorting: the best first, a second click the worst first; what was measured on few concepts, or not, stays last.
  const valueOf = (row, by) => {
    if (by === "name") return row.dataset.method;
    const text = by === "fronts" ? row.dataset.fronts : row.children[+by].dataset.value;
    return text === "" ? null : +text;
  };
  const isOfFew = (row, by) => "some" in row.dataset || (by !== "fronts" && "few" in row.children[+by].dataset);
  const compare = (a, b, by, up) => {
    const some = by === "name" ? 0 : isOfFew(a, by) - isOfFew(b, by);
    if (some) return some;
    const [x, y] = [valueOf(a, by), valueOf(b, by)];
    if (x === null || y === null) return (x === null) - (y === null) || order.get(a) - order.get(b);
    const sign = typeof x === "string" ? x.localeCompare(y, "en") : y - x;
    return (up ? -sign : sign) || order.get(a) - order.get(b);
  };
  const sorted = { head: table.querySelector('thead th:not([aria-sort="none"])[aria-sort]'), worst: false };
  const announce = () => { // how the numbers shown run: the best is the highest, the lowest or rank 1
    for (const th of $("thead th[aria-sort]", table)) th.setAttribute("aria-sort", "none");
    if (!sorted.head) return;
    const { best, ranked } = sorted.head.dataset;
    const up = best === "ascending" || (ranked !== undefined && table.dataset.shows === "rank");
    sorted.head.setAttribute("aria-sort", up === sorted.worst ? "descending" : "ascending");
  };
  for (const button of $("thead button", table)) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const by = button.dataset.sort;
      sorted.worst = head === sorted.head && !sorted.worst;
      sorted.head = head;
      announce();
      body.append(...[...rows].sort((a, b) => compare(a, b, by, sorted.worst)));
    });
  }

  // Filtering, of the table and of the fronts alike.
  const filter = document.getElementById("filter");
  const onlyFronts = document.getElementById("only-fronts");
  const visible = new Set();
  const refilter = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    visible.clear();
    for (const row of rows) {
      const name = row.dataset.method.toLowerCase();
      const fits = (!words.length || words.some((w) => name.includes(w))) && !(onlyFronts?.checked && row.dataset.fronts === "0");
      row.hidden = !fits;
      if (fits) visible.add(row.dataset.method);
    }
    document.getElementById("count").textContent = `${visible.size} of ${rows.length} methods`;
    document.getElementById("none").hidden = visible.size > 0;
    for (const chart of charts) chart.update("none");
  };
  filter.addEventListener("input", refilter);
  onlyFronts?.addEventListener("change", refilter);

  // What the cells say, and which groups of columns are shown.
  const press = (buttons, one) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === one)));
  const views = $(".views button");
  for (const button of views) {
    button.addEventListener("click", () => { press(views, button); table.dataset.shows = button.dataset.view; announce(); });
  }
  const groups = $(".groups button");
  const parts = document.getElementById("parts");
  const show = () => {
    const off = new Set(groups.filter((b) => b.getAttribute("aria-pressed") !== "true").map((b) => b.dataset.group));
    for (const cell of $("[data-group]", table)) cell.hidden = off.has(cell.dataset.group) || ("part" in cell.dataset && !parts.checked);
  };
  for (const button of groups) {
    button.addEventListener("click", () => { button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true")); show(); });
  }
  parts?.addEventListener("change", show);
  // Where all columns do not fit, a page begins without the parts of a score and then without the last groups.
  const wide = () => table.scrollWidth > table.parentElement.clientWidth;
  if (parts && wide()) { parts.checked = false; show(); }
  for (const button of groups.slice(1).reverse()) {
    if (!wide()) break;
    button.setAttribute("aria-pressed", "false");
    show();
  }

  // One method marked in the table and in every front.
  const pick = (method) => {
    picked = picked === method ? null : method;
    for (const row of rows) row.classList.toggle("picked", row.dataset.method === picked);
    for (const button of $(".pick")) {
      button.setAttribute("aria-pressed", String((button.dataset.method ?? button.closest("tr").dataset.method) === picked));
    }
    for (const chart of charts) chart.update("none");
  };
  for (const button of $(".pick")) button.addEventListener("click", () => pick(button.dataset.method ?? button.closest("tr").dataset.method));

  const dialog = document.getElementById("pictures");
  for (const thumb of $(".thumb")) {
    thumb.addEventListener("click", () => {
      const { concept } = thumb.dataset;
      const [own, below] = $("img", dialog);
      const untouched = $(".strips img").find((i) => i.dataset.concept === concept && i.dataset.method === "none");
      document.getElementById("pictured").textContent = `${thumb.closest("tr").dataset.method} on ${concept}`;
      own.src = thumb.firstElementChild.src;
      own.alt = thumb.firstElementChild.alt;
      below.parentElement.hidden = !untouched;
      if (untouched) [below.src, below.alt] = [untouched.src, untouched.alt];
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // The fronts.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const faint = (point) => (picked && point.method !== picked) || !visible.has(point.method);
  const alpha = (hex, share) => hex + Math.round(255 * share).toString(16).padStart(2, "0");
  const shade = (point) => {
    const full = colour(point.method === picked ? "mark" : point.on ? "on" : "off");
    return faint(point) ? alpha(full, 0.25) : full;
  };
  const extras = (front) => ({
    id: "extras",
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales: { x, y } } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.width, area.height);
      ctx.clip();
      ctx.lineWidth = 1;
      for (const p of front.points.filter((q) => q.low)) {
        ctx.strokeStyle = alpha(shade(p).slice(0, 7), faint(p) ? 0.1 : p.method === picked ? 0.9 : 0.4);
        ctx.beginPath();
        ctx.moveTo(x.getPixelForValue(p.low[0]), y.getPixelForValue(p.at[1]));
        ctx.lineTo(x.getPixelForValue(p.high[0]), y.getPixelForValue(p.at[1]));
        ctx.moveTo(x.getPixelForValue(p.at[0]), y.getPixelForValue(p.low[1]));
        ctx.lineTo(x.getPixelForValue(p.at[0]), y.getPixelForValue(p.high[1]));
        ctx.stroke();
      }
      ctx.restore();
    },
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales: { x, y } } = chart;
      const place = ([a, b]) => [x.getPixelForValue(a), y.getPixelForValue(b)];
      const own = front.points.filter((p) => !faint(p)).map((p) => [place(p.at), p.method, shade(p), p.method === picked ? 0 : p.on ? 1 : 3]);
      const anchors = front.anchors.map((a) => [place(a.at), a.label, colour("base"), 2]);
      const every = [...own, ...anchors];
      const taken = []; // by names
      const near = (mine) => every.filter((q) => q !== mine).map(([[a, b]]) => [a - 6, b - 11, a + 6, b + 11]); // there a name would be the other's
      const meets = ([l, m], width, boxes) => boxes.some(([tl, tt, tr, tb]) => l < tr && l + width > tl && m - 6 < tb && m + 6 > tt);
      const room = (p) => {
        const [[a, b], text, , rank] = p;
        ctx.font = `${rank === 2 ? "italic" : rank === 0 ? "600" : "normal"} 11px ${Chart.defaults.font.family}`;
        const width = ctx.measureText(text).width;
        const spots = [[a + 8, b - 8], [a + 8, b + 8], [a - 8 - width, b - 8], [a - 8 - width, b + 8], [a - width / 2, b - 14], [a - width / 2, b + 14],
          [a - width / 4, b - 20], [a - width / 4, b + 20], [a, b - 32], [a, b + 32]];
        const others = near(p);
        return [width, spots.filter(([l, m]) => l >= area.left && l + width <= area.right && m - 6 >= area.top && m + 6 <= area.bottom
          && !meets([l, m], width, others) && !meets([l, m], width, taken))];
      };
      ctx.save();
      ctx.textBaseline = "middle";
      const choices = new Map(every.map((p) => [p, room(p)[1].length])); // who has the fewest places goes first
      for (const p of every.sort((u, v) => u[3] - v[3] || choices.get(u) - choices.get(v))) {
        const [, text, fill] = p, [width, [free]] = room(p);
        if (!free) continue; // its name is in the tooltip
        taken.push([free[0], free[1] - 6, free[0] + width, free[1] + 6]);
        ctx.lineWidth = 3;
        ctx.strokeStyle = colour("card");
        ctx.strokeText(text, free[0], free[1]);
        ctx.fillStyle = fill;
        ctx.fillText(text, free[0], free[1]);
      }
      ctx.restore();
    },
  });
  const said = (front, { dataset, raw }) => {
    const lines = front.headings.map((h, i) => {
      const spread = raw.low ? ` [${raw.low[i]}, ${raw.high[i]}]` : "";
      return `${h} ${raw.at[i]}${spread}`;
    });
    if (raw.why || typeof raw.chance === "number") lines.push(raw.why ? `enters no front: ${raw.why}` : `on the front in ${Math.round(100 * raw.chance)} of 100 draws`);
    return lines;
  };
  const axis = (front, i) => {
    const all = [...front.points.flatMap((p) => (p.low ? [p.low[i], p.high[i]] : [p.at[i]])), ...front.anchors.map((a) => a.at[i])];
    if (!all.length) all.push(0, 1);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const room = 0.07 * (high - low || 1);
    return {
      title: { display: true, text: `${front.headings[i]} ${front.arrows[i]}`, color: colour("ink") },
      ticks: { color: colour("soft"), maxTicksLimit: 6, maxRotation: 0, includeBounds: false },
      grid: { color: colour("faint") }, border: { color: colour("line") }, min: low - room, max: high + room,
    };
  };
  const spot = (p) => ({ ...p, x: p.at[0], y: p.at[1] });
  const draw = (canvas) => {
    const front = data.fronts[+canvas.dataset.front];
    const points = { data: front.points.map(spot), radius: (c) => (c.raw?.on ? 5.5 : 4.5), hoverRadius: 7,
      backgroundColor: (c) => (c.raw ? (c.raw.on ? shade(c.raw) : colour("card")) : ""), borderColor: (c) => (c.raw ? shade(c.raw) : ""), borderWidth: 1.5 };
    const anchors = { data: front.anchors.map(spot), pointStyle: "rectRot", radius: 6, hoverRadius: 8, borderWidth: 1.5,
      backgroundColor: () => colour("card"), borderColor: () => colour("base") };
    const line = { type: "line", data: front.line.map(([x, y]) => ({ x, y })), pointRadius: 0, pointHitRadius: 0, borderWidth: 1.5,
      borderColor: () => alpha(colour("on"), 0.5), stepped: front.stepped[0] === "lower" ? "before" : "after" };
    const chart = new Chart(canvas, {
      type: "scatter", data: { datasets: [points, anchors, line] }, plugins: [extras(front)],
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, layout: { padding: { top: 8, right: 8 } },
        scales: { x: axis(front, 0), y: axis(front, 1) },
        onClick: (_, hits) => { const hit = hits.find((h) => h.datasetIndex === 0); if (hit) pick(front.points[hit.index].method); },
        onHover: (event, hits) => { event.native.target.style.cursor = hits.some((h) => h.datasetIndex === 0) ? "pointer" : ""; },
        plugins: { legend: { display: false }, tooltip: { filter: (c) => c.datasetIndex < 2, displayColors: false,
          callbacks: { title: (c) => c.map((i) => i.raw.method ?? i.raw.label).join(", "), label: (c) => said(front, c) } } },
      },
    });
    charts.push(chart);
  };
  const drawAll = () => {
    while (charts.length) charts.pop().destroy();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    $("canvas[data-front]").forEach(draw);
  };
  rows.forEach((row) => visible.add(row.dataset.method));
  drawAll();
  refilter();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
