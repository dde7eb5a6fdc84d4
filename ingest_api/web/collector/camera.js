// What the camera sees: a still → device.image.camera.raw.

export const STREAM = "device.image.camera.raw";
const SIDES = { environment: "rear", user: "front" };
const LARGE = { width: { ideal: 4096 }, height: { ideal: 4096 } };
const QUALITY = 0.92;

/** A camera that is open, with its picture in a `finder` (a video element). */
export class Camera {
  constructor(finder) {
    this.finder = finder;
    this.stream = null;
    this.facing = "environment";
  }

  get isOpen() {
    return this.stream !== null;
  }

  /** Opens it. Throws as getUserMedia does. */
  async open() {
    const video = { ...LARGE, facingMode: { ideal: this.facing } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video });
    this.finder.srcObject = this.stream;
    await this.finder.play();
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.finder.srcObject = null;
  }

  /** Opens the one on the other side. */
  async turn() {
    this.facing = this.facing === "environment" ? "user" : "environment";
    this.close();
    await this.open();
  }

  /** The picture of this moment: the arguments for `keep`. */
  async shoot() {
    const time_ms = Date.now();
    const { videoWidth: width, videoHeight: height } = this.finder;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(this.finder, 0, 0);
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    if (!picture) throw new Error("The picture could not be made.");
    const [track] = this.stream.getVideoTracks();
    const fields = { format: "jpeg", camera_type: SIDES[track.getSettings().facingMode] };
    const bytes = { blob: await picture.arrayBuffer(), blob_field: "image_data" };
    return [STREAM, [[time_ms, fields]], bytes];
  }
}
