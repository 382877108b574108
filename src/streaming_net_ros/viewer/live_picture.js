// A picture that asks for the next one when it has shown the last: at its own pace, never faster
// than period_ms, and not at all while it is hidden. What cannot be had is said below it.
export default {
  template: `
    <figure class="live-picture" :class="{ stale: stale }" :data-node="node">
      <div class="frame"><img v-show="shown" :src="shown" :class="{ smooth: smooth }" draggable="false" /></div>
      <figcaption><span>{{ caption }}</span><span>{{ range }}</span></figcaption>
    </figure>`,
  props: { node: String, source: String, period_ms: Number, smooth: Boolean },
  data: () => ({ shown: "", caption: "waiting for a state", range: "", stale: false }),
  mounted() {
    this.isOn = true;
    this.isAlive = true;
    this.tag = "";
    this.asked_ms = 0;
    this.newest = performance.now();
    this.loop();
  },
  activated() { this.isOn = true; },
  deactivated() { this.isOn = false; },
  unmounted() {
    this.isAlive = false;
    if (this.shown) URL.revokeObjectURL(this.shown);
  },
  watch: {
    source() { this.tag = ""; },
  },
  methods: {
    async loop() {
      while (this.isAlive) {
        const begun = performance.now();
        if (this.isOn && this.source && document.visibilityState === "visible") await this.ask();
        const rest = Math.max(this.period_ms, this.asked_ms) - (performance.now() - begun);
        await new Promise((done) => setTimeout(done, Math.max(20, rest)));
      }
    },
    async ask() {
      const source = this.source;
      try {
        const headers = this.tag ? { "If-None-Match": this.tag } : {};
        const answer = await fetch(source, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
        this.asked_ms = Number(answer.headers.get("X-Period")) || 0; // rarer where many ask
        if (source !== this.source) return;
        if (answer.status === 200) {
          const file = await answer.blob();
          const before = this.shown;
          this.shown = URL.createObjectURL(file);
          if (before) setTimeout(() => URL.revokeObjectURL(before), 1000);
          this.tag = answer.headers.get("ETag") || "";
          this.caption = (answer.headers.get("X-Caption") || "").replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
          this.range = answer.headers.get("X-Range") || "";
          this.newest = performance.now();
        } else if (answer.status === 204) {
          this.caption = answer.headers.get("X-Caption") || "no state heard yet";
          this.shown = this.tag = this.range = "";
          this.newest = performance.now();
        } else if (answer.status !== 304) {
          this.caption = (await answer.text()).slice(0, 120);
        }
      } catch (error) {
        this.caption = "the viewer does not answer";
      }
      this.stale = performance.now() - this.newest > 3000;
    },
  },
};
