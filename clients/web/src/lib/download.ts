/** Saves a file: a data URL, or text of a type. */
export function save(name: string, content: string, type?: string): void {
  const address = type ? URL.createObjectURL(new Blob([content], { type })) : content;
  const link = document.createElement("a");
  link.href = address;
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
  if (type) setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
