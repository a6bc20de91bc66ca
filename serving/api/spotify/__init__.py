"""The Spotify drop-in: `/spotify/v1`, the recommendation endpoints that Spotify closed, in the same shapes."""

PREFIX = "/spotify/v1"
