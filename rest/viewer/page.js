'use strict';

// Shows one of the documents that /openapi/ lists: the one that ?document= names, else the first. All addresses are relative to this
// page, because a proxy may have put a path before it.
(async () => {
  const folder = new URL('../openapi/', document.baseURI);
  try {
    const answer = await fetch(folder);
    if (!answer.ok) throw new Error(`${folder}: ${answer.status}`);
    const { documents } = await answer.json();
    const asked = new URLSearchParams(location.search).get('document');
    const shown = documents.find((d) => d.name === asked) ?? documents[0];
    document.title = shown.title;

    const choice = document.getElementById('documents');
    choice.replaceChildren(...documents.map((d) => new Option(d.title, d.name, false, d === shown)));
    choice.disabled = documents.length < 2;
    choice.addEventListener('change', () => {
      location.search = new URLSearchParams({ document: choice.value });
    });
    for (const form of ['yaml', 'json']) document.getElementById(form).href = new URL(shown[form], folder);

    SwaggerUIBundle({
      dom_id: '#viewer',
      url: new URL(shown.json, folder).href,
      deepLinking: true,
      defaultModelsExpandDepth: 0,
      docExpansion: 'list',
      displayRequestDuration: true,
      persistAuthorization: false,
      validatorUrl: null,
    });
  } catch (fault) {
    document.getElementById('fault').hidden = false;
    console.error(fault);
  }
})();
