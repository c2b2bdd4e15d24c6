// A page that is opened from the disk may start no worker: this runs the search of the site in a hidden frame instead.
if (location.protocol === "file:") {
  const load = (frame, url) => new Promise((resolve, reject) => {
    const script = frame.document.createElement("script");
    Object.assign(script, { src: url, onload: resolve, onerror: reject });
    frame.document.body.append(script);
  });
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const element = document.createElement("iframe");
      element.hidden = true;
      document.body.append(element);
      const frame = this.frame = element.contentWindow;
      frame.document.write("<body></body>");
      frame.document.close();
      frame.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      frame.importScripts = (...urls) => urls.reduce((last, next) => last.then(() => load(frame, next)), Promise.resolve());
      this.loaded = load(frame, url);
    }
    postMessage(data) {
      this.loaded.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
